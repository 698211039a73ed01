package reader

import (
	"errors"
	"time"
)

// Air times of ISO/IEC 14443-2 and -3 at 106 kbit/s. One etu is 128/fc.
const (
	etu = 9440 * time.Nanosecond
	// frameDelay is the longer of the two frame delay times to an answer in
	// anticollision: 1236/fc, ISO/IEC 14443-3, 6.2.1.1.
	frameDelay = 92 * time.Microsecond
	// slack covers the receiver's end-of-frame detection and cards that answer
	// late; it doubles, up to maxSlack, when an answer was cut off.
	minSlack = 40 * time.Microsecond
	maxSlack = time.Millisecond
	// haltSilence is how long a PICC may take to refuse HLTA: 6.4.3.
	haltSilence = time.Millisecond
	// rereadInterval is how often an answer of unknown time is asked for.
	rereadInterval = 500 * time.Microsecond
)

// frame is one question to the field and what is expected back.
type frame struct {
	tx   []byte
	last byte // number of bits of the last byte, 0 = 8 (TxLastBits, also RxAlign unless short)
	want int  // bytes expected, at most 5; 0 for silence
	// short is set for REQA and WUPA: 7 bits out, whole bytes back.
	short bool
	// health reads the configuration too, in the same transfer.
	health bool
	// wait replaces the computed time of the answer.
	wait time.Duration
	// until bounds an answer of unknown length and time (ISO/IEC 14443-4).
	until time.Duration
}

// answer is what came back; data is valid until the next frame.
type answer struct {
	data []byte
	// coll is the position of the first collided bit in data, 1 to 32; 0 for none.
	coll int
}

// statusRegs begin a frame's status burst; FIFO and health follow.
var statusRegs = [...]byte{comIrqReg, errorReg, status2Reg, fifoLevelReg, controlReg, collReg}

// status is what the burst read of them.
type status struct{ irq, err, status2, level, control, coll byte }

// healthRegs is the configuration that the shadow keeps, and commandReg and
// status2Reg, whose right values are known.
var healthRegs = [...]byte{commandReg, status2Reg, modeReg, txModeReg, rxModeReg, txControlReg, txASKReg, rfCfgReg, versionReg}

// fifoRegs addresses the FIFO as often as a burst may need.
var fifoRegs = func() (r [fifoSize]byte) {
	for i := range r {
		r[i] = fifoDataReg
	}
	return
}()

// exchange sends f and returns the answer, errSilence, an errNoise or a Fault.
// It leaves the chip idle and the FIFO empty.
func (d *Dev) exchange(f frame) (answer, error) {
	if err := d.send(f); err != nil {
		return answer{}, err
	}
	d.clock.Sleep(f.airTime() + d.slack)
	a, err := d.receive(f)
	if err == errLate {
		d.slack = min(2*d.slack, maxSlack)
		d.clock.Sleep(maxSlack) // until the air is clear
	} else if err == nil && d.slack > minSlack {
		d.slack -= (d.slack - minSlack) / 16
	}
	return a, err
}

// receive fetches the answer to f once it is due.
func (d *Dev) receive(f frame) (answer, error) {
	want := f.want
	if f.until > 0 {
		n, err := d.awaitAnswer(f.until)
		if err != nil {
			return answer{}, err
		}
		want = n
	}
	return d.collect(f, want)
}

// send starts f. Four windows: sysfs-spi moves as many without allocating.
func (d *Dev) send(f frame) error {
	align := f.last
	if f.short {
		align = 0
	}
	d.bus.write(comIrqReg, 0x7F)
	d.bus.write(fifoDataReg, f.tx...)
	d.bus.write(commandReg, cmdTransceive)
	d.bus.write(bitFramingReg, startSend|align<<4|f.last)
	_, err := d.bus.do()
	return err
}

// airTime is how long f and its answer take at the most.
func (f frame) airTime() time.Duration {
	tx := 3 + 9*len(f.tx)
	if f.short {
		tx = 10
	}
	sent := time.Duration(tx) * etu
	if f.wait > 0 {
		return sent + f.wait
	}
	return sent + frameDelay + time.Duration(2+9*f.want)*etu
}

// awaitAnswer waits until the receiver is done, at most until, and returns how
// many bytes it has. The IRQ pin only shortens the wait.
func (d *Dev) awaitAnswer(until time.Duration) (int, error) {
	end := d.clock.Now() + until
	for {
		d.bus.read(comIrqReg, fifoLevelReg)
		st, err := d.bus.do()
		if err != nil {
			return 0, err
		}
		if st[0]&(irqRx|irqErr) != 0 || d.clock.Now() >= end {
			return int(min(st[1], fifoSize-2-byte(len(statusRegs)))), nil
		}
		d.waitIRQ(rereadInterval)
	}
}

// waitIRQ waits for an edge of the IRQ pin, or for limit.
func (d *Dev) waitIRQ(limit time.Duration) {
	if d.wires.IRQ == nil {
		d.clock.Sleep(limit)
		return
	}
	d.wires.IRQ.WaitForEdge(limit)
}

// collect reads status and FIFO in one burst, stops the chip, and judges.
func (d *Dev) collect(f frame, want int) (answer, error) {
	n := copy(d.regs[:], statusRegs[:])
	n += copy(d.regs[n:], fifoRegs[:want])
	if f.health {
		n += copy(d.regs[n:], healthRegs[:])
	}
	d.bus.read(d.regs[:n]...)
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(fifoLevelReg, flushFIFO)
	got, err := d.bus.do()
	if err != nil {
		return answer{}, err
	}
	if f.health && !hot(got) {
		if err := d.compare(got[len(statusRegs)+want:], cmdTransceive); err != nil {
			return answer{}, err
		}
	}
	st := status{got[0], got[1], got[2], got[3], got[4], got[5]}
	return st.judge(got[len(statusRegs):][:want])
}

// hot tells whether a status burst is that of an overheated chip, rather than of a
// bus that reads nonsense. Such a chip has its antenna off, which is no mystery.
func hot(st []byte) bool {
	return st[1]&errTemp != 0 && st[0]&irqSet == 0 && st[1]&errReserved == 0 && st[3] <= fifoSize
}

// judge turns status and FIFO into an answer or an error, in the order of what
// invalidates what. A receiver at work is not silence, whatever it has so far.
func (st status) judge(data []byte) (answer, error) {
	switch {
	case st.irq&irqSet != 0 || st.err&errReserved != 0 || st.level > fifoSize:
		return answer{}, errGarbled
	case st.err&errTemp != 0:
		return answer{}, errHot
	case st.irq&irqTx == 0:
		return answer{}, errDeaf
	case st.err&errColl != 0 && st.level > 0:
		return st.collision(data)
	case st.err&(errOverflow|errColl|errProtocol|errParity) != 0:
		return answer{}, errFraming
	case st.irq&irqRx == 0 && st.level == 0 && st.status2&modemState != receiving:
		return answer{}, errSilence
	case st.irq&irqRx == 0:
		return answer{}, errLate
	case int(st.level) != len(data) || st.control&rxLastBits != 0:
		return answer{}, errPartial
	}
	return answer{data: data}, nil
}

// collision finds the first collided bit; MFRC522 rev. 3.9, 9.3.1.15.
func (st status) collision(data []byte) (answer, error) {
	if st.coll&collInvalid != 0 {
		return answer{}, errCollided
	}
	pos := int(st.coll & collPos)
	if pos == 0 {
		pos = 32
	}
	return answer{data: data[:min(len(data), int(st.level))], coll: pos}, nil
}

// What a status burst says about a chip that does not do its work.
var (
	errGarbled = &Fault{Kind: FaultWiring, Err: errors.New("status registers have bits set that always read 0")}
	errHot     = &Fault{Kind: FaultHeat, Err: errors.New("chip reports overheating")}
	errDeaf    = &Fault{Kind: FaultReset, Err: errors.New("chip did not send the frame")}
)
