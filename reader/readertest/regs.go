package readertest

// Registers (MFRC522 rev. 3.9, 9.2), named as there.
const (
	commandReg      = 0x01
	comIEnReg       = 0x02
	divIEnReg       = 0x03
	comIrqReg       = 0x04
	divIrqReg       = 0x05
	errorReg        = 0x06
	status1Reg      = 0x07
	status2Reg      = 0x08
	fifoDataReg     = 0x09
	fifoLevelReg    = 0x0A
	waterLevelReg   = 0x0B
	controlReg      = 0x0C
	bitFramingReg   = 0x0D
	collReg         = 0x0E
	modeReg         = 0x11
	txModeReg       = 0x12
	rxModeReg       = 0x13
	txControlReg    = 0x14
	txASKReg        = 0x15
	demodReg        = 0x19
	mfRxReg         = 0x1D
	crcResultRegH   = 0x21
	crcResultRegL   = 0x22
	tModeReg        = 0x2A
	tPrescalerReg   = 0x2B
	tReloadRegH     = 0x2C
	tReloadRegL     = 0x2D
	tCounterValRegH = 0x2E
	tCounterValRegL = 0x2F
	autoTestReg     = 0x36
	versionReg      = 0x37
)

// Bits of ComIrqReg, ErrorReg and others that several functions need.
const (
	irqTx, irqRx, irqIdle, irqHi, irqLo, irqErr, irqTimer = 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01

	irqCRC = 0x04 // of DivIrqReg

	errWr, errTemp, errOvfl, errColl, errCRC, errParity, errProtocol = 0x80, 0x40, 0x10, 0x08, 0x04, 0x02, 0x01

	bitPowerDown = 0x10 // CommandReg
	bitRcvOff    = 0x20 // CommandReg
	bitCrypto1On = 0x08 // Status2Reg
	bitRFOn      = 0x03 // TxControlReg: both drivers
	bitNotValid  = 0x20 // CollReg: CollPosNotValid
	bitAllValues = 0x80 // CollReg: ValuesAfterColl
)

// resetValues are the registers after a reset (9.2, table 20 and the registers'
// own tables). What the data sheet leaves open (xx) is 0 here, CollReg says "no
// collision", and DivIrqReg is 00.
var resetValues = [64]byte{
	commandReg: 0x20, comIEnReg: 0x80, comIrqReg: 0x14, status1Reg: 0x21, waterLevelReg: 0x08,
	controlReg: 0x10, collReg: 0xA0,
	modeReg: 0x3F, txControlReg: 0x80, 0x16: 0x10, 0x17: 0x84, 0x18: 0x84, demodReg: 0x4D,
	0x1C: 0x62, 0x1F: 0xEB,
	crcResultRegH: 0xFF, crcResultRegL: 0xFF, 0x23: 0x88, 0x24: 0x26, 0x25: 0x87, 0x26: 0x48,
	0x27: 0x88, 0x28: 0x20, 0x29: 0x20,
	0x33: 0x80, autoTestReg: 0x40, 0x3C: 0xFF, 0x3E: 0x03,
}

// writable are the bits that keep what the host writes; registers with side
// effects are handled one by one in write.
var writable = [64]byte{
	comIEnReg: 0xFF, divIEnReg: 0x94, waterLevelReg: 0x3F, bitFramingReg: 0x77,
	modeReg: 0xAB, txModeReg: 0xF8, rxModeReg: 0xFC, txControlReg: 0xFB, txASKReg: 0x40,
	0x16: 0x3F, 0x17: 0xFF, 0x18: 0xF7, demodReg: 0xFF, 0x1C: 0x03, mfRxReg: 0x10, 0x1F: 0xFF,
	0x24: 0xFF, 0x26: 0x70, 0x27: 0xFF, 0x28: 0x3F, 0x29: 0x3F,
	tModeReg: 0xFF, tPrescalerReg: 0xFF, tReloadRegH: 0xFF, tReloadRegL: 0xFF,
	0x31: 0x07, 0x32: 0xFF, 0x33: 0xFE, 0x34: 0xFE, autoTestReg: 0x4F, 0x38: 0xFF, 0x39: 0x3F, 0x3A: 0x3F,
}

// triggers are the bits that start something and read 0.
var triggers = [64]byte{bitFramingReg: 0x80}

// read is what the register at a says now, with the side effects of reading.
func (c *Chip) read(a byte) byte {
	switch a {
	case fifoDataReg:
		return c.fifoOut()
	case fifoLevelReg:
		return byte(c.fifoLen)
	case status1Reg:
		return c.status1()
	case status2Reg:
		return c.regs[a] | byte(c.modem)
	case tCounterValRegH:
		return byte(c.timerValue() >> 8)
	case tCounterValRegL:
		return byte(c.timerValue())
	case versionReg:
		return c.version()
	}
	return c.regs[a]
}

// write gives v to the register at a.
func (c *Chip) write(a, v byte) {
	switch a {
	case commandReg:
		c.writeCommand(v)
	case comIrqReg:
		c.writeComIrq(v)
	case divIrqReg:
		c.regs[a] = setOrClear(c.regs[a], v, 0x14)
	case status2Reg:
		c.writeStatus2(v)
	case fifoDataReg:
		c.hostFIFO(v)
	case fifoLevelReg:
		if v&0x80 != 0 {
			c.fifoLen = 0
			c.regs[errorReg] &^= errOvfl
		}
	case controlReg:
		c.writeControl(v)
	case collReg:
		c.regs[a] = c.regs[a]&^bitAllValues | v&bitAllValues
	default:
		c.writePlain(a, v)
	}
}

func (c *Chip) writePlain(a, v byte) {
	w := writable[a]
	switch {
	case w == 0:
		c.violate("write of %02X to register %02X, which is read-only or reserved", v, a)
	case (v^resetValues[a])&^(w|triggers[a]) != 0:
		c.violate("write of %02X to register %02X changes reserved bits", v, a)
	}
	c.regs[a] = c.regs[a]&^w | v&w
	switch a {
	case txControlReg:
		c.fieldChanged()
	case bitFramingReg:
		if v&0x80 != 0 {
			c.startSend()
		}
	}
}

// writeComIrq sets or clears the marked bits; a cleared TimerIRq must see the
// next round of a timer that restarts by itself.
func (c *Chip) writeComIrq(v byte) {
	c.regs[comIrqReg] = setOrClear(c.regs[comIrqReg], v, 0x7F)
	c.rearmTimer()
}

// setOrClear is the rule of Set1 and Set2: bit 7 tells what happens to the bits
// that are marked.
func setOrClear(old, v, mask byte) byte {
	if v&0x80 != 0 {
		return old | v&mask
	}
	return old &^ (v & mask)
}

// writeStatus2: MFCrypto1On can be cleared only; TempSensClear ends a
// temperature error once the chip has cooled down (9.3.1.9).
func (c *Chip) writeStatus2(v byte) {
	on := c.regs[status2Reg] & v & bitCrypto1On
	c.regs[status2Reg] = v&0xC0 | on
	if on == 0 {
		c.cipher = nil
	}
	if v&0x80 != 0 && !c.faulty(FaultTempErr) {
		c.regs[errorReg] &^= errTemp
	}
}

func (c *Chip) writeControl(v byte) {
	if v&0x80 != 0 {
		c.stopTimer()
	}
	if v&0x40 != 0 {
		c.startTimer()
	}
}

func (c *Chip) status1() byte {
	s := byte(0x20)
	if c.regs[crcResultRegH]|c.regs[crcResultRegL] == 0 {
		s |= 0x40
	}
	if c.irqRequest() {
		s |= 0x10
	}
	if c.timer.running {
		s |= 0x08
	}
	if c.hiAlert() {
		s |= 0x02
	}
	if c.loAlert() {
		s |= 0x01
	}
	return s
}

// version is VersionReg; a fault may show a clone's.
func (c *Chip) version() byte {
	if f := c.lasting(FaultVersion); f != nil {
		return f.Value
	}
	return c.opts.Version
}
