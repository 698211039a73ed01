package cache

// FailAt has f called at the points of each change of the file: "begun",
// "written" before its commit, "committed" after it.
func (l *Ledger) FailAt(f func(point string)) { l.at = f }

// FailAt is Ledger.FailAt for the list.
func (l *List) FailAt(f func(point string)) { l.at = f }

// Forget drops the pages that the ledger's connection has in memory.
func (l *Ledger) Forget() { l.db.Exec("PRAGMA shrink_memory") }
