package readertest

import "badged/mifare/mifaretest"

// receive is the receiver at the end of a frame: it checks, fills the FIFO and
// raises RxIRq.
func (c *Chip) receive(sym []symbol) {
	align := int(c.regs[bitFramingReg] >> 4 & 7)
	parity := c.regs[mfRxReg]&0x10 == 0
	r := demodulate(c.rx, sym, align, parity)
	c.rx = r.data
	scrap := r.bits < 4 && align == 0         // the rest of a split byte may be shorter
	if scrap && c.regs[rxModeReg]&0x08 != 0 { // RxNoErr: the receiver stays on
		c.modem = modemWaitData
		return
	}
	c.decrypt(&r, parity)
	if r.badStart || scrap {
		c.fail(errProtocol)
	}
	if r.badParity {
		c.fail(errParity)
	}
	c.judgeCollision(&r, align)
	c.checkCRC(&r)
	for _, v := range r.data {
		c.fifoIn(v)
	}
	c.regs[controlReg] = resetValues[controlReg] | byte((align+r.bits)%8)
	if !scrap {
		c.regs[comIrqReg] |= irqRx
	}
	c.afterReception()
}

// decrypt takes the cipher's stream off what was received.
func (c *Chip) decrypt(r *reception, parity bool) {
	if c.regs[status2Reg]&bitCrypto1On == 0 {
		return
	}
	f, ok := c.cipher.Decrypt(mifaretest.Frame{Data: r.data, Bits: r.bits, Parity: r.parity})
	r.data = f.Data
	r.badParity = parity && !ok
}

// judgeCollision sets CollErr and CollReg.
func (c *Chip) judgeCollision(r *reception, align int) {
	if r.collision < 0 {
		return
	}
	c.fail(errColl)
	pos := align + r.collision + 1
	if c.regs[collReg]&bitAllValues == 0 {
		r.clearFrom(pos - 1)
	}
	if c.opts.AbsoluteCollPos {
		pos = max(0, c.air.frame.Bits-16) + r.collision + 1
	}
	if pos <= 32 {
		c.regs[collReg] = c.regs[collReg]&bitAllValues | byte(pos)&0x1F
	}
}

// checkCRC checks and takes off CRC_A if RxCRCEn is set.
func (c *Chip) checkCRC(r *reception) {
	if c.regs[rxModeReg]&0x80 == 0 {
		return
	}
	n := len(r.data) - 2
	if r.bits%8 != 0 || n < 1 {
		c.fail(errCRC)
		return
	}
	if crc := crcA(r.data[:n]); r.data[n] != byte(crc) || r.data[n+1] != byte(crc>>8) {
		c.fail(errCRC)
	}
	r.data = r.data[:n]
}

// afterReception: Receive ends, Transceive waits for the next StartSend, and
// RxMultiple appends ErrorReg and goes on receiving (9.3.2.4).
func (c *Chip) afterReception() {
	switch {
	case c.regs[rxModeReg]&0x04 != 0:
		c.fifoIn(c.regs[errorReg])
		c.modem = modemWaitData
	case c.command() == cmdReceive:
		c.done()
	default:
		c.modem = modemWaitSend
	}
}
