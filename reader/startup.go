package reader

import (
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

const (
	// fieldTime is how long a PICC may need to lose its state without the field,
	// and to be ready in it: 5 ms each, ISO/IEC 14443-3, 5.
	fieldTime = 5 * time.Millisecond
	// resetTime bounds a reset; the data sheet gives no figure for a soft one.
	resetTime = 50 * time.Millisecond
)

// shadow is what the registers in healthRegs, commandReg apart, read back as
// after configuration. Clones differ in bits that do not matter.
type shadow [len(healthRegs)]byte

// setSpeed changes the SPI clock, if the port can.
func (d *Dev) setSpeed(f physic.Frequency) error {
	if f == d.speed {
		return nil
	}
	l, ok := d.wires.Port.(interface {
		LimitSpeed(physic.Frequency) error
	})
	if !ok {
		return &Fault{Kind: FaultSPI, Err: errors.New("port cannot change its speed")}
	}
	if err := l.LimitSpeed(f); err != nil {
		return &Fault{Kind: FaultSPI, Err: err}
	}
	d.speed = f
	return nil
}

// slowStart is hardStart at the next lower speed.
func (d *Dev) slowStart() error {
	for _, f := range []physic.Frequency{4 * physic.MegaHertz, physic.MegaHertz} {
		if f < d.speed {
			if err := d.setSpeed(f); err != nil {
				return err
			}
			break
		}
	}
	return d.hardStart()
}

// hardStart pulses NRSTPD, if it is wired, and goes on as softStart.
func (d *Dev) hardStart() error {
	if r := d.wires.Reset; r != nil {
		if err := r.Out(gpio.Low); err != nil {
			return &Fault{Kind: FaultPin, Err: fmt.Errorf("pull RST low: %w", err)}
		}
		d.clock.Sleep(time.Millisecond) // 100 ns would do: 8.8.1
		if err := r.Out(gpio.High); err != nil {
			return &Fault{Kind: FaultPin, Err: fmt.Errorf("release RST: %w", err)}
		}
		d.clock.Sleep(2 * time.Millisecond) // crystal, then 38 µs
	}
	return d.softStart()
}

// softStart resets the chip by command, tests the bus, and configures it.
func (d *Dev) softStart() error {
	if err := d.probe(); err != nil {
		return err
	}
	d.bus.write(commandReg, cmdSoftReset)
	if _, err := d.bus.do(); err != nil {
		return err
	}
	if err := d.awaitReady(); err != nil {
		return err
	}
	if err := d.testBus(); err != nil {
		return err
	}
	return d.configure()
}

// awaitReady waits for the end of a reset.
func (d *Dev) awaitReady() error {
	for end := d.clock.Now() + resetTime; d.clock.Now() < end; {
		d.clock.Sleep(time.Millisecond)
		c, err := d.bus.readOne(commandReg)
		if err != nil {
			return err
		}
		if c&(powerDown|0x0F) == 0 {
			return nil
		}
	}
	return &Fault{Kind: FaultReset, Err: errors.New("chip does not come out of reset")}
}

// probe reads the version until it is sure that a chip answers.
func (d *Dev) probe() error {
	for range 5 {
		d.bus.read(versionReg)
	}
	got, err := d.bus.do()
	if err != nil {
		return err
	}
	v := got[0]
	for _, again := range got {
		if again != v {
			return &Fault{Kind: FaultWiring, Err: fmt.Errorf("version reads 0x%02X, then 0x%02X", v, again)}
		}
	}
	if v == 0x00 || v == 0xFF {
		return noChip(v)
	}
	d.version37 = v
	return nil
}

// noChip is the Fault of a bus that reads v everywhere.
func noChip(v byte) error {
	return &Fault{Kind: FaultWiring, Err: fmt.Errorf("no chip answers: version reads 0x%02X", v)}
}

// testBus writes a pattern to the FIFO and reads it back in a burst and one by
// one. A bus that breaks only bursts is used without them.
func (d *Dev) testBus() error {
	d.bus.split = false
	if d.echo() == nil {
		return nil
	}
	d.bus.split = true
	return d.echo()
}

// echo checks that the FIFO gives back what it got, at every bit.
func (d *Dev) echo() error {
	pattern := [...]byte{0x00, 0xFF, 0x55, 0xAA, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x33, 0xCC, 0x0F, 0xF0}
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(fifoLevelReg, flushFIFO)
	d.bus.write(fifoDataReg, pattern[:]...)
	d.bus.read(append([]byte{fifoLevelReg}, fifoRegs[:len(pattern)]...)...)
	got, err := d.bus.do()
	if err != nil {
		return err
	}
	if int(got[0]) != len(pattern) || [len(pattern)]byte(got[1:]) != pattern {
		return &Fault{Kind: FaultWiring, Err: fmt.Errorf("FIFO gives back % X", got)}
	}
	return nil
}

// configure writes the whole configuration, reads it back, and waits until cards
// in the field are ready.
func (d *Dev) configure() error {
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(fifoLevelReg, flushFIFO)
	d.bus.write(comIrqReg, 0x7F)
	d.bus.write(comIEnReg, 0x80|irqRx|irqErr) // active low
	d.bus.write(divIEnReg, 0x80)              // push-pull
	d.bus.write(status2Reg, 0)                // Crypto1 off
	d.bus.write(collReg, 0)                   // clear bits from a collision on
	d.bus.write(modeReg, crcPreset)
	d.bus.write(txModeReg, 0) // 106 kbit/s, no CRC: ours is end to end
	d.bus.write(rxModeReg, 0)
	d.bus.write(txASKReg, force100ASK)
	d.bus.write(modWidthReg, modWidth)
	d.bus.write(rfCfgReg, rfCfg(d.opts.GainDB))
	d.bus.write(txControlReg, antennaOn)
	d.bus.read(errorReg)
	d.bus.read(healthRegs[:]...)
	got, err := d.bus.do()
	if err != nil {
		return err
	}
	read := shadow(got[1:])
	if got[0]&errTemp != 0 && got[0]&errReserved == 0 && read[len(read)-1] == d.version37 {
		return errHot // its antenna does not go on
	}
	if err := d.essential(read); err != nil {
		return err
	}
	d.shadow = read
	d.clock.Sleep(fieldTime)
	return d.verify()
}

// essential checks the bits without which no card is ever seen.
func (d *Dev) essential(s shadow) error {
	for i, want := range [...]struct{ mask, value byte }{
		{0x3F, cmdIdle}, {crypto1On, 0}, {0x03, crcPreset & 0x03}, {0xF0, 0}, {0xF0, 0},
		{0x03, antennaOn & 0x03}, {force100ASK, force100ASK}, {0x70, rfCfg(d.opts.GainDB) & 0x70}, {0xFF, d.version37},
	} {
		if s[i]&want.mask != want.value {
			return &Fault{Kind: FaultReset, Err: fmt.Errorf("register 0x%02X reads 0x%02X after configuration", healthRegs[i], s[i])}
		}
	}
	return nil
}

// verify compares the configuration with the shadow.
func (d *Dev) verify() error {
	d.bus.read(errorReg)
	d.bus.read(healthRegs[:]...)
	got, err := d.bus.do()
	if err != nil {
		return err
	}
	if got[0]&errTemp != 0 {
		return errHot
	}
	return d.compare(got[1:], cmdIdle)
}

// compare judges a health read; command is what commandReg should show.
func (d *Dev) compare(got []byte, command byte) error {
	if v := got[len(got)-1]; v == 0x00 || v == 0xFF {
		return noChip(v)
	}
	for i, v := range got {
		want := d.shadow[i]
		switch healthRegs[i] {
		case commandReg:
			want = command
			v &= 0x1F
		case status2Reg:
			want = 0
			v &= crypto1On
		}
		if v != want {
			return &Fault{Kind: FaultReset, Err: fmt.Errorf("register 0x%02X reads 0x%02X, want 0x%02X", healthRegs[i], v, want)}
		}
	}
	return nil
}

// quiet stops whatever the chip does, Crypto1 included.
func (d *Dev) quiet() error {
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(fifoLevelReg, flushFIFO)
	d.bus.write(comIrqReg, 0x7F)
	d.bus.write(status2Reg, 0)
	_, err := d.bus.do()
	return err
}

// fieldCycle brings every card in the field to IDLE.
func (d *Dev) fieldCycle() error {
	if err := d.quiet(); err != nil {
		return err
	}
	d.bus.write(txControlReg, antennaOff)
	if _, err := d.bus.do(); err != nil {
		return err
	}
	d.clock.Sleep(fieldTime)
	d.bus.write(txControlReg, antennaOn)
	_, err := d.bus.do()
	d.clock.Sleep(fieldTime)
	return err
}
