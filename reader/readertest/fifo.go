package readertest

// fifoSize is the FIFO's depth (8.3).
const fifoSize = 64

// fifoIn appends a byte; one too many sets BufferOvfl and is lost.
func (c *Chip) fifoIn(v byte) {
	if c.fifoLen == fifoSize {
		c.fail(errOvfl)
		return
	}
	c.fifo[c.fifoLen] = v
	c.fifoLen++
}

// fifoOut is a read of the host: the oldest byte, 0 from an empty FIFO.
func (c *Chip) fifoOut() byte {
	if c.command() == cmdMFAuthent {
		c.fail(errWr)
		return 0
	}
	return c.pull()
}

// pull takes a byte as the chip's own units do.
func (c *Chip) pull() byte {
	if c.fifoLen == 0 {
		return 0
	}
	v := c.fifo[0]
	copy(c.fifo[:], c.fifo[1:c.fifoLen])
	c.fifoLen--
	return v
}

// hostFIFO is a write of the host, which has its forbidden times (9.3.1.7, WrErr)
// and may be what a running command waits for.
func (c *Chip) hostFIFO(v byte) {
	cmd := c.command()
	switch {
	case cmd == cmdMFAuthent && c.auth.step != authFill:
		c.fail(errWr)
		return
	case cmd == cmdTransceive && c.modem >= modemRxWait:
		c.fail(errWr) // and taken all the same: drivers that poll with REQA do it
	case c.modem == modemSending:
		c.violate("FIFO written while sending: longer frames are not emulated")
	}
	c.fifoIn(v)
	switch cmd {
	case cmdCalcCRC:
		c.calcCRC()
	case cmdMFAuthent:
		c.authStart()
	}
}

// hiAlert and loAlert compare the level with WaterLevelReg (9.3.1.8).
func (c *Chip) hiAlert() bool { return fifoSize-c.fifoLen <= int(c.regs[waterLevelReg]) }
func (c *Chip) loAlert() bool { return c.fifoLen <= int(c.regs[waterLevelReg]) }
