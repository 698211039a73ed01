package reader

import "fmt"

// Registers, MFRC522 rev. 3.9, 9.2 table 20.
const (
	commandReg    = 0x01
	comIEnReg     = 0x02
	divIEnReg     = 0x03
	comIrqReg     = 0x04
	errorReg      = 0x06
	status2Reg    = 0x08
	fifoDataReg   = 0x09
	fifoLevelReg  = 0x0A
	controlReg    = 0x0C
	bitFramingReg = 0x0D
	collReg       = 0x0E
	modeReg       = 0x11
	txModeReg     = 0x12
	rxModeReg     = 0x13
	txControlReg  = 0x14
	txASKReg      = 0x15
	modWidthReg   = 0x24
	rfCfgReg      = 0x26
	autoTestReg   = 0x36
	versionReg    = 0x37
)

// Commands, 10.3.
const (
	cmdIdle       = 0x00
	cmdMem        = 0x01
	cmdCalcCRC    = 0x03
	cmdTransceive = 0x0C
	cmdSoftReset  = 0x0F
)

// Bits of registers, 9.3.
const (
	powerDown   = 0x10 // commandReg
	irqSet      = 0x80 // comIrqReg, Set1: write only, reads 0
	irqTx       = 0x40
	irqRx       = 0x20
	irqErr      = 0x02
	errTemp     = 0x40 // errorReg: too hot, the antenna drivers are off
	errOverflow = 0x10
	errColl     = 0x08
	errParity   = 0x02
	errProtocol = 0x01
	errReserved = 0x20
	crypto1On   = 0x08 // status2Reg
	modemState  = 0x07
	receiving   = 0x06
	tempClear   = 0x80 // ends errTemp once the chip has cooled down
	flushFIFO   = 0x80 // fifoLevelReg: write only, reads 0
	rxLastBits  = 0x07 // controlReg
	startSend   = 0x80 // bitFramingReg
	collInvalid = 0x20 // collReg
	collPos     = 0x1F
	antennaOn   = 0x83 // txControlReg: reset value and both drivers
	antennaOff  = 0x80
	force100ASK = 0x40 // txASKReg
	crcPreset   = 0x3D // modeReg: as the reset value, CRC preset 6363
	modWidth    = 0x26 // modWidthReg, reset value
)

// fifoSize is the size of the FIFO in bytes, 8.3.
const fifoSize = 64

// gains has the RxGain bits of rfCfgReg by gain in dB, 9.3.3.6.
var gains = map[int]byte{18: 0, 23: 1, 33: 4, 38: 5, 43: 6, 48: 7}

// rfCfg is the value of rfCfgReg for a gain of dB.
func rfCfg(dB int) byte { return gains[dB]<<4 | 0x08 }

// chipName names a chip by versionReg; ok is false for a clone or an unknown.
func chipName(version byte) (name string, ok bool) {
	switch version {
	case 0x90:
		return "MFRC522 v0.0", true
	case 0x91:
		return "MFRC522 v1.0", true
	case 0x92:
		return "MFRC522 v2.0", true
	case 0x88:
		return "FM17522 (clone)", false
	case 0x89:
		return "FM17522E (clone)", false
	case 0xB2:
		return "FM17522 variant (clone)", false
	case 0x12:
		return "counterfeit MFRC522", false
	}
	return fmt.Sprintf("unknown chip 0x%02X", version), false
}
