package readertest

import (
	"math/bits"

	"badged/mifare/mifaretest"
)

// Commands (MFRC522 rev. 3.9, 10.3).
const (
	cmdIdle       = 0x0
	cmdMem        = 0x1
	cmdRandomID   = 0x2
	cmdCalcCRC    = 0x3
	cmdTransmit   = 0x4
	cmdNoChange   = 0x7
	cmdReceive    = 0x8
	cmdTransceive = 0xC
	cmdMFAuthent  = 0xE
	cmdSoftReset  = 0xF
)

// modemState is ModemState of Status2Reg (9.3.1.9).
type modemState byte

const (
	modemIdle      modemState = 0
	modemWaitSend  modemState = 1
	modemSending   modemState = 3
	modemRxWait    modemState = 4
	modemWaitData  modemState = 5
	modemReceiving modemState = 6
)

func (c *Chip) command() byte { return c.regs[commandReg] & 0x0F }

func (c *Chip) poweredDown() bool { return c.regs[commandReg]&bitPowerDown != 0 }

// writeCommand starts and ends commands and soft power-down, from which the chip
// needs 1024 clocks to wake; PowerDown reads 1 until then (8.6.2).
func (c *Chip) writeCommand(v byte) {
	if v&0xC0 != 0 {
		c.violate("write of %02X to CommandReg changes reserved bits", v)
	}
	r := &c.regs[commandReg]
	*r = *r&^bitRcvOff | v&bitRcvOff
	switch {
	case v&bitPowerDown != 0:
		c.powerDown()
		return
	case c.poweredDown():
		if c.wakeAt == 0 {
			c.wakeAt = c.now() + startUpTime
		}
		if v&0x0F != cmdIdle && v&0x0F != cmdNoChange {
			c.violate("command %X while the chip wakes up", v&0x0F)
		}
		return
	}
	if v&0x0F != cmdNoChange {
		c.begin(v & 0x0F)
	}
}

// powerDown stops oscillator and field and whatever ran; registers stay.
func (c *Chip) powerDown() {
	c.run++
	c.modem, c.wakeAt = modemIdle, 0
	c.regs[commandReg] = c.regs[commandReg]&bitRcvOff | bitPowerDown
	c.stopTimer()
	c.fieldChanged()
}

// wakeUp ends a soft power-down whose time is over.
func (c *Chip) wakeUp() {
	if c.wakeAt != 0 && c.now() >= c.wakeAt {
		c.wakeAt = 0
		c.regs[commandReg] &^= bitPowerDown
		c.fieldChanged()
	}
}

// begin starts a command and thereby ends the one before, without IdleIRq.
func (c *Chip) begin(cmd byte) {
	c.run++
	c.modem = modemIdle
	c.regs[commandReg] = c.regs[commandReg]&bitRcvOff | cmd
	if cmd != cmdIdle {
		c.regs[errorReg] &= errTemp | errOvfl // 9.3.1.7: cleared by command execution
	}
	switch cmd {
	case cmdIdle:
	case cmdMem:
		c.mem()
	case cmdRandomID:
		c.randomID()
	case cmdCalcCRC:
		c.beginCRC()
	case cmdTransmit:
		c.send()
	case cmdReceive:
		c.receiverOn()
	case cmdTransceive:
		c.modem = modemWaitSend
	case cmdMFAuthent:
		c.auth = auth{}
		c.authStart()
	case cmdSoftReset:
		c.resetRegisters()
		c.regs[comIrqReg] |= irqIdle
	default:
		c.done()
	}
}

// done is a command ending by itself.
func (c *Chip) done() {
	c.regs[commandReg] &^= 0x0F
	c.regs[comIrqReg] |= irqIdle
	c.modem = modemIdle
}

// mem moves 25 bytes from the FIFO into the buffer, or from the buffer into an
// empty FIFO (10.3.1.2). What a short FIFO lacks reads 0.
func (c *Chip) mem() {
	if c.fifoLen == 0 {
		for _, v := range c.buffer {
			c.fifoIn(v)
		}
	} else {
		for i := range c.buffer {
			c.buffer[i] = c.pull()
		}
	}
	c.done()
}

// randomID fills the first ten bytes of the buffer (10.3.1.3).
func (c *Chip) randomID() {
	for i := range 10 {
		c.buffer[i] = byte(c.rnd.Uint32())
	}
	c.done()
}

// beginCRC presets the coprocessor, or starts the self test (10.3.1.4).
func (c *Chip) beginCRC() {
	if c.regs[autoTestReg]&0x0F == 0x09 {
		c.beginSelfTest()
		return
	}
	c.setCRC([4]uint16{0x0000, 0x6363, 0xA671, 0xFFFF}[c.regs[modeReg]&3])
	c.calcCRC()
}

// calcCRC takes in what the FIFO has; the command goes on until the host ends it.
func (c *Chip) calcCRC() {
	if c.fifoLen == 0 {
		return
	}
	crc := uint16(c.regs[crcResultRegH])<<8 | uint16(c.regs[crcResultRegL])
	msb := c.regs[modeReg]&0x80 != 0
	if msb {
		crc = bits.Reverse16(crc)
	}
	for c.fifoLen > 0 {
		v := c.pull()
		if msb {
			v = bits.Reverse8(v)
		}
		crc = crcByte(crc, v)
	}
	if msb {
		crc = bits.Reverse16(crc)
	}
	c.setCRC(crc)
	c.regs[divIrqReg] |= irqCRC
}

func (c *Chip) setCRC(v uint16) {
	c.regs[crcResultRegH], c.regs[crcResultRegL] = byte(v>>8), byte(v)
}

// crcByte takes one byte, least significant bit first, into a CRC with
// x16 + x12 + x5 + 1.
func crcByte(crc uint16, v byte) uint16 {
	crc ^= uint16(v)
	for range 8 {
		if crc&1 != 0 {
			crc = crc>>1 ^ 0x8408
		} else {
			crc >>= 1
		}
	}
	return crc
}

// crcA is CRC_A of b (ISO/IEC 14443-3, annex B).
func crcA(b []byte) uint16 {
	crc := uint16(0x6363)
	for _, v := range b {
		crc = crcByte(crc, v)
	}
	return crc
}

// startSend is the host's StartSend: it means something in Transceive only.
func (c *Chip) startSend() {
	switch {
	case c.command() != cmdTransceive:
		c.violate("StartSend without Transceive")
	case c.modem == modemSending:
		c.violate("StartSend while sending")
	default:
		c.send()
	}
}

// send puts the FIFO on the air.
func (c *Chip) send() {
	if c.fifoLen == 0 {
		c.violate("sending from an empty FIFO")
		return
	}
	n := c.fifoLen
	data := c.air.data[:0]
	for c.fifoLen > 0 {
		data = append(data, c.pull())
	}
	bits := 8 * n
	if last := int(c.regs[bitFramingReg] & 7); last != 0 {
		bits -= 8 - last
	}
	if c.regs[txModeReg]&0x80 != 0 {
		crc := crcA(data)
		data = append(data, byte(crc), byte(crc>>8))
		bits += 16
	}
	c.air.data = data
	c.transmit(c.plainFrame(data, bits))
}

// plainFrame is what the bits from the FIFO are on the air: with ParityDisable
// every ninth of them is the host's own parity bit (9.3.2.13).
func (c *Chip) plainFrame(data []byte, n int) mifaretest.Frame {
	if tail := n % 8; tail != 0 {
		data[n/8] &= 1<<tail - 1
	}
	f := mifaretest.Frame{Data: data, Bits: n}
	if c.regs[mfRxReg]&0x10 == 0 {
		return f
	}
	f = mifaretest.Frame{Data: make([]byte, (n-n/9+7)/8), Bits: n - n/9, Parity: make([]byte, n/9)}
	for i := range n {
		b := data[i/8] >> (i % 8) & 1
		if i%9 == 8 {
			f.Parity[i/9] = b
		} else {
			k := i - i/9
			f.Data[k/8] |= b << (k % 8)
		}
	}
	return f
}
