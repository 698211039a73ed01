// Package provision makes gateways out of boards: at the office one file for each,
// and on the board the configuration that the file says.
//
// The file is a badged.toml with everything that it names inside. The board checks
// all of it in a folder of its own and then makes badged.toml a link to that
// folder's: one rename, so that a power cut leaves the old configuration or the
// new one. A configuration that replaces another is on trial until the gateway has
// connected with it; the daemon gives the verdict, and root acts on it at the next
// start.
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
