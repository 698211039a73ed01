package reader

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// ErrNoReference is what SelfTest returns for a chip whose right result nobody
// has published: a clone, that may work all the same.
var ErrNoReference = errors.New("no reference for the self test of this chip")

// selfTestTime bounds the self test; 10 ms would do.
const selfTestTime = 200 * time.Millisecond

// selfTests has the 64 bytes that the digital self test leaves in the FIFO, by
// VersionReg: MFRC522 rev. 3.9, 16.1.1 for 91 and 92; 90 is from the preliminary
// data sheet, 88 was taken from a chip by users of the Arduino library.
var selfTests = map[byte]string{
	0x90: "0087980f49ff0719bf2230495963adca7fe34e035c4e4950479a3761e7e2c62e" +
		"755aed043d024b7832ff583b7ce90094b44a595bfdc929df3596989e4f30328d",
	0x91: "00c637d532b7575cc2d87c4dd970c77310e6d2aa5ea13e5a14af3061c970db2e" +
		"642272b5bd65f4ec22bcd37235cdaa411fa7f35314de7e02d90fb55e251d2979",
	0x92: "00eb66ba57bf2395d0e30d3d27895cde9d3ba700215b8982513aeb020ca50049" +
		"7c844db3ccd21b815d4876d5716121a986968338cf9d5b6ddc15ba3e7d953b2f",
	0x88: "00d6788ce2aa0c182ab87a7fd36acf0bb137634b69ae91c7c397ae77f437d79b" +
		"7cf53c118f15c3d7c15b002ad075de9e5164ab3ee915b5ab569a988226ea2a62",
}

// SelfTest runs the chip's digital self test and configures it again afterwards.
// A chip that fails it is a Fault of kind FaultChip, which Run does not mind;
// ErrNoReference means that there is nothing to compare with. Cards in the field
// lose their state and are known all the same.
func (d *Dev) SelfTest() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publish()
	if err := d.bringUp(); err != nil {
		d.up = false
		return err
	}
	return d.test()
}

// The values of Health.SelfTest.
const (
	selfTestPassed = "passed"
	selfTestFailed = "failed"
	selfTestNone   = "no reference"
)

// test runs the self test on a chip that is up and remembers how it came out.
func (d *Dev) test() error {
	got, err := d.runSelfTest()
	if again := d.hardStart(); again != nil {
		return d.unproven(errors.Join(err, again))
	}
	want, ok := selfTests[d.version37]
	switch {
	case err != nil:
		d.selfTest = selfTestFailed
		return err
	case !ok:
		d.selfTest = selfTestNone
		return fmt.Errorf("mfrc522: version 0x%02X: %w", d.version37, ErrNoReference)
	case hex.EncodeToString(got) != want:
		d.selfTest = selfTestFailed
		return &Fault{Kind: FaultChip, Err: fmt.Errorf("self test gives %X, want %s", got, want)}
	}
	d.selfTest = selfTestPassed
	return nil
}

// firstTest runs the self test once, before the first poll, of a chip that has a
// reference. Only a chip that does not come up again afterwards is an error; one
// that fails gets another chance, as the bus may have been disturbed.
func (d *Dev) firstTest() error {
	if d.selfTest != "" {
		return nil
	}
	if _, ok := selfTests[d.version37]; !ok {
		d.selfTest = selfTestNone
		return nil
	}
	d.selfTest = selfTestFailed // whatever becomes of the bus now: it is not tried again
	for range 2 {
		if err := d.test(); err == nil || !d.up {
			return err
		}
	}
	return nil
}

// runSelfTest follows 16.1.1 and returns what is in the FIFO at its end.
func (d *Dev) runSelfTest() ([]byte, error) {
	d.bus.write(commandReg, cmdSoftReset)
	if _, err := d.bus.do(); err != nil {
		return nil, err
	}
	if err := d.awaitReady(); err != nil {
		return nil, err
	}
	d.bus.write(fifoLevelReg, flushFIFO)
	d.bus.write(fifoDataReg, make([]byte, 25)...)
	d.bus.write(commandReg, cmdMem)
	if _, err := d.bus.do(); err != nil {
		return nil, err
	}
	d.clock.Sleep(time.Millisecond)
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(autoTestReg, 0x09)
	d.bus.write(fifoDataReg, 0)
	d.bus.write(commandReg, cmdCalcCRC)
	if _, err := d.bus.do(); err != nil {
		return nil, err
	}
	if err := d.awaitFIFO(); err != nil {
		return nil, err
	}
	d.bus.write(commandReg, cmdIdle)
	d.bus.write(autoTestReg, 0)
	d.bus.read(fifoRegs[:]...)
	got, err := d.bus.do()
	return bytes.Clone(got), err
}

// awaitFIFO waits until the FIFO is full. CRCIRq is not reliable here.
func (d *Dev) awaitFIFO() error {
	for end := d.clock.Now() + selfTestTime; d.clock.Now() < end; {
		d.clock.Sleep(time.Millisecond)
		n, err := d.bus.readOne(fifoLevelReg)
		if err != nil {
			return err
		}
		if n == fifoSize {
			return nil
		}
	}
	return &Fault{Kind: FaultChip, Err: errors.New("self test does not end")}
}
