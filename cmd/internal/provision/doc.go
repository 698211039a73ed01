// Package provision makes gateways out of boards: at the office one file for each,
// and on the board the configuration that the file says.
//
// The file is a badged.toml with everything that it names inside. The board checks
// all of it in a folder of its own and then makes badged.toml a link to that
// folder's: one rename, so that a power cut leaves the old configuration or the
// new one. A configuration that replaces another is on trial until the gateway has
// connected with it; the daemon gives the verdict, and root acts on it at the next
// start.
//
// Three rooms are in it. The file: file, text, stage. The office, which makes it:
// csv, make, authority, gathered. The board, which takes it: partition finds it,
// apply installs it by way of disk, settle ends trials, record keeps what has to be
// known later, and words says how it came out. Office and board know nothing of each
// other but the file.
package provision

// Names on the boot partition.
const (
	FileName   = "badged-provision.toml"
	ResultName = "badged-result.txt"
)

const (
	configName  = "badged.toml"
	recordName  = "record.json"
	stateFolder = "/var/lib/badged"
)
