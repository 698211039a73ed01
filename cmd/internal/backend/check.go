package backend

import (
	"bufio"
	"fmt"
	"os"
)

// Checked is what a folder has of one ledger.
type Checked struct {
	Gateway string `json:"gateway"`
	Ledger  string `json:"ledger"`
	UpTo    uint64 `json:"upTo"` // every record up to here is there and follows on the one before
	Hash    string `json:"hash"` // of that one
	Last    uint64 `json:"last"` // the highest that there is
	Forks   int    `json:"forks"`
	Damaged []int  `json:"damaged,omitempty"` // lines
	Odd     string `json:"odd,omitempty"`     // all of that in words; empty for a whole ledger
}

// Check reads every ledger in the folder, each record's hash and the chain, and tells
// of each. It only reads, also beside a running Receiver.
func Check(dir string, tell func(Checked) error) error {
	in := bufio.NewReaderSize(nil, maxLine)
	return eachLedger(dir, "*", func(gateway, ledger string) error {
		l := newLedgerFile(dir, gateway, ledger)
		f, err := os.Open(l.path)
		if err != nil {
			return err
		}
		defer f.Close()
		l.f = f
		in.Reset(f)
		damaged, err := l.read(in)
		if err != nil {
			return err
		}
		odd := l.odd()
		if len(damaged) > 0 {
			odd = fmt.Sprintf("%d damaged lines, the first %d, and what follows it was not checked", len(damaged), damaged[0])
		}
		return tell(Checked{gateway, ledger, l.upTo, l.hash, l.last, l.forks, damaged, odd})
	})
}
