package mifare

// ATQA is the answer to REQA and WUPA in transmission order: a Classic 1K
// answers 04 00. Many tools print it the other way round.
type ATQA [2]byte

// SAK is the select acknowledge of one cascade level.
type SAK byte

// The bits of a SAK that decide (ISO/IEC 14443-3, 6.5.3.4; ISO/IEC 18092).
const (
	sakCascade SAK = 0x04 // UID not complete, another cascade level follows
	sakTCL     SAK = 0x20 // the PICC speaks ISO/IEC 14443-4
	sakNFCDEP  SAK = 0x40 // the PICC speaks NFC-DEP
)

// Complete tells whether the UID is complete with this SAK.
func (s SAK) Complete() bool { return s&sakCascade == 0 }

// TCL tells whether the PICC claims ISO/IEC 14443-4, whatever else it claims.
func (s SAK) TCL() bool { return s&sakTCL != 0 }

// Card is what a reader saw of one PICC, unjudged.
type Card struct {
	UID  UID
	ATQA ATQA
	// ATQACollided is set when several PICCs answered the request at once:
	// ATQA then belongs to none of them.
	ATQACollided bool
	// SAKs has the SAK of each cascade level, the final one last.
	SAKs []SAK
	// ATS is the answer to RATS with TL and without CRC; empty when it was not
	// asked for, or not answered, or came with a bad length or CRC.
	ATS []byte
	// Version is the answer to GetVersion, its three frames joined without
	// status bytes; empty when unknown.
	Version []byte
	// Notes are contradictions that the reader met on the way: see Note.
	Notes []Note
}

// SAK is the final SAK, the only one that classifies a card.
func (c Card) SAK() SAK {
	if len(c.SAKs) == 0 {
		return 0
	}
	return c.SAKs[len(c.SAKs)-1]
}

// Note names a contradiction in what a PICC said, reported with the tap.
type Note string

// The contradictions that a reader or Identify can see.
const (
	NoteATQASize   Note = "ATQASize"   // ATQA's size bits do not fit the UID's size
	NoteCT         Note = "CT"         // cascade tag and SAK contradict each other
	NoteBadATS     Note = "BadATS"     // an ATS whose length or CRC is wrong
	NoteSilentRATS Note = "SilentRATS" // claims T=CL and answers no RATS
	// NoteTypeChanged is for those who remember cards: the UID was another kind of
	// card when it was last seen, so one of the two is a copy.
	NoteTypeChanged Note = "TypeChanged"
)
