package mifare

import "slices"

// Row is one line of the table of types. Its patterns are upper-case hex digits
// in transmission order: "?" is any digit, "*" at the end any rest, "|" parts
// alternatives, "-" stands for absent, and the empty pattern fits everything.
type Row struct {
	Type       Type
	Confidence Confidence
	SAK        string // final
	ATQA       string
	UID        string
	ATS        string
	Historical string // historical bytes of the ATS
	Version    string // GetVersion
	Name       string // product
	Source     string // who says so: see Table
}

// Table returns the table of types in its order; the first row that fits a card
// names it. Sources: P proxmark3 client/src/cmdhf14a.c (after NXP AN10833 and
// AN10834); N NXP's own TagInfo; L libnfc libnfc/target-subr.c; W nfc-tools
// iso14443A; M proxmark3 doc/magic_cards_notes.md; R a reader vendor's measured
// table; C ChameleonMini Reader14443A.c; F flipperzero; S pcsc-tools
// smartcard_list.txt; O observed, in testdata/public.jsonl; I the standards,
// ISO/IEC 14443-3 and 18092, themselves.
func Table() []Row { return slices.Clone(table) }

const (
	classicMini Type = "classic-mini"
	classic1K   Type = "classic-1k"
	classic2K   Type = "classic-2k"
	classic4K   Type = "classic-4k"
	plusSL1     Type = "plus-sl1"
	plusSL2     Type = "plus-sl2"
	plusSL3     Type = "plus-sl3"
	tnp3xxx     Type = "tnp3xxx"
	smartMX     Type = "smartmx-classic"
	desfire     Type = "desfire"
	desfireEV1  Type = "desfire-ev1"
	desfireEV2  Type = "desfire-ev2"
	desfireEV3  Type = "desfire-ev3"
	ntag4xx     Type = "ntag4xx"
	ntag21x     Type = "ntag21x"
	ultralight  Type = "ultralight"
	ulEV1       Type = "ultralight-ev1"
	bankEMV     Type = "bank-emv"
	passport    Type = "passport-epassport"
	phone       Type = "phone-hce"
	genericTCL  Type = "generic-t=cl"
	nfcDEP      Type = "nfc-dep"
	other       Type = "other"
)

// Patterns that several rows share.
const (
	single   = "????????"
	double   = "??????????????"
	randomID = "08??????"
	tcl      = "2?|3?|6?|7?|A?|B?|E?|F?" // bit 0x20
	dual     = "28|38|A8|B8"             // and the Classic's bit 0x08
	sak1k    = "08|88"
	sak4k    = "18|98"
	plusHist = "C1052F2F*|C1052130*|C1052030*"
	mrtdHist = "8091E1*|8073*|80670412*|006404*|107833D40200*|4D525444*|4D54434F53*|803198*"
	emvHist  = "0031C1*|0073C84000*|2063CB*|4449203*|41434F53*|434C61697265*|4946582D*|01654E434F53*|4B4F4E41*|805A*|000000|80318066B1840C*"
	phoneATS = "0578807002|0578807802|0578804000"
)

// The order matters: what asks more comes before what asks less.
var table = []Row{
	// GetVersion tells the generation: type in its second byte, major version in its fourth.
	{desfire, Certain, tcl, "", "", "", "", "0401??00*|0481??00*", "MIFARE DESFire (MF3ICD40)", "P O"},
	{desfireEV1, Certain, tcl, "", "", "", "", "0401??01*|0481??01*", "MIFARE DESFire EV1", "P O"},
	{desfireEV2, Certain, tcl, "", "", "", "", "0401??12*|0481??12*|0401??42*", "MIFARE DESFire EV2", "P O"},
	{desfireEV3, Certain, tcl, "", "", "", "", "0401??33*|0481??33*", "MIFARE DESFire EV3", "P O"},
	{"desfire-duox", Certain, tcl, "", "", "", "", "0401??A0*|0481??A0*", "MIFARE DUOX", "P"},
	{phone, Likely, tcl, "", "", "", "", "0491*", "DESFire applet in a phone's wallet", "P"},
	{desfire, Likely, tcl, "", "", "", "", "0401*|0481*", "MIFARE DESFire of an unknown generation", "P"},
	{"desfire-light", Certain, tcl, "", "", "", "", "0408*", "MIFARE DESFire Light", "P"},
	{plusSL1, Certain, "08|18", "", "", "", "", "0402??11*", "MIFARE Plus EV1 in SL1", "P R"},
	{plusSL1, Certain, "08|18", "", "", "", "", "0402??22*", "MIFARE Plus EV2 in SL1", "P R"},
	{plusSL3, Certain, "20", "", "", "", "", "0402??11*", "MIFARE Plus EV1 in SL0 or SL3", "P"},
	{plusSL3, Certain, "20", "", "", "", "", "0402??22*", "MIFARE Plus EV2 in SL0 or SL3", "P"},
	{ntag4xx, Certain, tcl, "", "", "", "", "0404*", "NTAG 4xx DNA", "P O"},
	{ulEV1, Certain, "00", "", double, "", "", "000403??01*", "MIFARE Ultralight EV1", "P"},
	{"ultralight-nano", Certain, "00", "", double, "", "", "000403??02*", "MIFARE Ultralight Nano", "P"},
	{"ultralight-aes", Certain, "00", "", double, "", "", "000403??04*", "MIFARE Ultralight AES", "P"},
	{"ntag-i2c", Certain, "00", "", double, "", "", "00040405*", "NTAG I2C", "P"},
	{ntag21x, Certain, "00", "", double, "", "", "000404*", "NTAG 21x", "P"},

	// MIFARE Plus says itself in its historical bytes, in every security level.
	{plusSL1, Certain, "08|18", "", "", "", "C1052F2F0035C7", "", "MIFARE Plus S in SL1", "P N R O"},
	{plusSL1, Certain, "08|18", "", "", "", "C1052F2F01BCD6", "", "MIFARE Plus X in SL1", "P N R O"},
	{plusSL1, Certain, "08|18", "", "", "", "C105213000F6D1|C105213010F6D1|C10521300077C1", "", "MIFARE Plus SE in SL1", "P O"},
	{plusSL1, Likely, "08|18", "", "", "", plusHist, "", "MIFARE Plus in SL1", "P"},
	{plusSL3, Certain, "20", "", "", "", "C1052F2F0035C7", "", "MIFARE Plus S in SL0 or SL3", "P N R O S"},
	{plusSL3, Certain, "20", "", "", "", "C1052F2F01BCD6", "", "MIFARE Plus X in SL0 or SL3", "P N R O S"},
	{plusSL3, Certain, "20", "", "", "", "C105213000F6D1|C105213010F6D1|C10521300077C1", "", "MIFARE Plus SE in SL0 or SL3", "P O"},
	{plusSL3, Likely, "20", "", "", "", plusHist, "", "MIFARE Plus in SL0 or SL3", "P S"},
	{plusSL2, Certain, "10", "", "", "", "", "", "MIFARE Plus 2K in SL2", "P L"},
	{plusSL2, Certain, "11", "", "", "", "", "", "MIFARE Plus 4K in SL2", "P L"},

	// Classic and what speaks its language. A SAK of 08 may be any of many ICs and clones.
	{classicMini, Certain, "09|89", "", "", "-", "", "", "MIFARE Mini", "P L W"},
	{classicMini, Likely, "09|89", "", "", "", "", "", "MIFARE Mini clone that answers RATS", "I"},
	{classic1K, Likely, sak1k, "", "", "", "DABC1910*", "", "magic MIFARE Classic, gen2", "M O"},
	{classic1K, Likely, sak1k, "", "", "0D780071028849A1*", "", "", "magic MIFARE Classic, gen2", "M"},
	{classic1K, Likely, sak1k, "010F", "", "", "", "", "magic MIFARE Classic with a figure's block 0", "O"},
	{classic1K, Family, "88", "0400", "", "", "", "", "MIFARE Classic 1K of Infineon, or EV1", "L W R F O"},
	{classic1K, Likely, "08", "0400", single, "-", "", "", "MIFARE Classic 1K", "P L W O"},
	{classic1K, Likely, "08", "4400", double, "-", "", "", "MIFARE Classic 1K or EV1, 7-byte UID", "P O"},
	{classic1K, Family, sak1k, "", "", "-", "", "", "MIFARE Classic 1K", "L W"},
	{classic1K, Family, sak1k, "", "", "", "", "", "MIFARE Classic 1K clone that answers RATS", "M"},
	{other, Likely, "98", "0200", "", "", "", "", "Gemplus MPCOS", "L W C"},
	{classic4K, Likely, "18", "0200", single, "-", "", "", "MIFARE Classic 4K", "P L W O"},
	{classic4K, Likely, "18", "4200", double, "-", "", "", "MIFARE Classic 4K, 7-byte UID", "P L W O"},
	{classic4K, Family, sak4k, "", "", "-", "", "", "MIFARE Classic 4K", "L W"},
	{classic4K, Family, sak4k, "", "", "", "", "", "MIFARE Classic 4K clone that answers RATS", "M"},
	{classic2K, Likely, "19|99", "", "", "", "", "", "MIFARE Classic 2K, or a 1K clone", "P N O"},
	{tnp3xxx, Certain, "01|81", "010F", "", "", "", "", "TNP3xxx, toy figure", "P N O"},
	{tnp3xxx, Likely, "01|81", "", "", "", "", "", "TNP3xxx, toy figure", "P N"},

	// Dual-interface ICs: T=CL, with a Classic beside it.
	{smartMX, Certain, dual, "", "", "1078809002*|107880A002*|107880B002*", "", "", "Fudan FM1208 or FM1216 with Classic", "O"},
	{smartMX, Certain, dual, "", "", "", "4A434F503331*", "", "JCOP 31 with Classic", "L W C O"},
	{smartMX, Certain, dual, "", "", "", "4A434F503431*", "", "JCOP 41 with Classic", "L W C"},
	{smartMX, Certain, dual, "", "", "", "77433253010002", "", "CPU card with Classic", "O"},
	{phone, Likely, dual, "", "", phoneATS, "", "", "phone that emulates a Classic", "O"},
	{smartMX, Likely, "28|A8", "", "", "", "", "", "SmartMX or JCOP with Classic 1K", "L W F O"},
	{smartMX, Likely, "38|B8", "", "", "", "", "", "SmartMX or JCOP with Classic 4K", "L W F O"},
	{phone, Likely, "60|68|70|78|E0|E8|F0|F8", "", "", "", "", "", "phone with NFC-DEP and T=CL", "O I"},
	{other, Likely, "53", "", "", "", "", "", "Fudan FM1208SH01 or FM11RF08SH", "L P"},
	{nfcDEP, Certain, "4?|5?|C?|D?", "", "", "", "", "", "NFC-DEP peer", "P I"},

	// T=CL. An ATS of 06 75 77 81 02 80 is every DESFire's.
	{desfire, Likely, "20", "", "", "067577810280", "", "", "MIFARE DESFire", "P L W O S"},
	{desfire, Family, "20", "4403|0403", "", "0675????0280", "", "", "MIFARE DESFire with interface bytes of its own", "W"},
	{desfire, Family, "20", "0403", "08??????|80??????", "-", "", "", "MIFARE DESFire with a random UID, that gave no ATS", "O"},
	{ntag4xx, Certain, "20", "", "", "067777710280", "", "", "NTAG 424 DNA", "O"},
	{desfire, Family, "20", "", "", "067533810200", "", "", "magic DESFire, anticollision only", "M"},
	{desfire, Family, "20", "4403", double, "-", "", "", "MIFARE DESFire that gave no ATS", "O"},
	{other, Family, "20", "4403", single, "-", "", "", "magic MIFARE Classic that claims DESFire", "M O"},
	{genericTCL, Certain, "20", "0100", "", "0578778002", "", "", "HID Seos", "O P"},
	{genericTCL, Likely, "20", "4200", "", "0578005002", "", "", "ST M24SR or ST25TA", "O"},
	{genericTCL, Likely, "20", "0800", "", "107880A00200*", "", "", "Fudan FM1208", "O"},
	{genericTCL, Likely, "20", "", "", "", "57694C4C55*", "", "WiLLU", "L M"},
	{genericTCL, Likely, "20", "4800", "", "0578779102", "", "", "key card on NXP P60", "O"},
	{genericTCL, Likely, "20", "4800", "", "", "8073C821*", "", "JCOP 4", "O"},
	{genericTCL, Certain, "20", "", "", "", "4A434F50*", "", "JCOP", "L W C S"},
	{genericTCL, Likely, "20", "4400", "", "0572F76002", "", "", "NSC or BS-CPU clone", "M"},
	{phone, Likely, "20", "", randomID, phoneATS, "", "", "phone, card emulation", "O"},
	{phone, Certain, "20", "", randomID, "", "0073C84013009000", "", "Nokia 6131", "S"},
	{passport, Likely, "20", "", randomID, "", mrtdHist, "", "passport or identity card", "S"},
	{passport, Family, "20", "", randomID, "", "??*", "", "identity card, passport or phone", "S"},
	{phone, Family, "20", "", randomID, "", "", "", "phone, or another card with a random UID", "O"},
	{bankEMV, Likely, "20", "0400|4400|0800", "", "", emvHist, "", "payment card", "O S"},
	{bankEMV, Family, "20", "0400", single, "", "??*", "", "payment card, or another CPU card", "S"},
	{genericTCL, Family, tcl, "", "", "", "", "", "ISO/IEC 14443-4 card", "I"},

	// The rest.
	{ultralight, Likely, "00", "4400", double, "0A78008102DBA0C11940", "", "", "magic Ultralight", "M O"},
	{ultralight, Family, "00|80", "", double, "", "", "", "MIFARE Ultralight or NTAG", "P L W O"},
	{other, Family, "00|80", "", "", "", "", "", "broken or magic Classic, or two cards", "O"},
	{other, Likely, "0A", "0300", "", "", "", "", "Fudan FM11RF005SH", "P"},
	{other, Likely, "0A", "0500", "", "", "", "", "Fudan FM11RF005M", "P O"},
	{other, Family, "", "", "", "", "", "", "unknown card", "I"},
}
