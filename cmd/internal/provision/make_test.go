package provision

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/durable"
)

func TestManyGatewaysFromACSV(t *testing.T) {
	m := newSite(t)
	for _, comma := range []string{",", ";", "\t"} {
		rows := strings.ReplaceAll("\ufeffgateway.id, gateway.language,station[0].id,password,board,replaces\n"+
			"gw-1,de,washer-1,one,10000000abcd,\ngw-2,,washer-2,\"t'''wo\\\",,true\n", ",", comma)
		orders, err := ReadCSV(strings.NewReader(rows), "site.csv", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		made, err := m.Make(orders)
		if err != nil || len(made) != 2 {
			t.Fatalf("got %d files, %v", len(made), err)
		}
		for i, want := range []struct{ id, language, station, password, board string }{
			{"gw-1", "de", "washer-1", "one\n", "10000000abcd"}, {"gw-2", "en", "washer-2", "t'''wo\\\n", ""},
		} {
			f, err := Parse(made[i].Doc, "x")
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse(strings.NewReader(string(f.Config())), "badged.toml")
			if err != nil || c.ID != want.id || made[i].ID != want.id || c.Language != want.language || c.Stations[0].ID != want.station {
				t.Errorf("got %s, %s, %s, %v, want %+v", c.ID, c.Language, c.Stations[0].ID, err, want)
			}
			if f.Files[passwordName] != want.password || f.Board != want.board || f.Replaces != (i == 1) {
				t.Errorf("got password %q, board %q, replaces %t, want %+v", f.Files[passwordName], f.Board, f.Replaces, want)
			}
			block, _ := pem.Decode([]byte(f.Files[certName]))
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil || cert.Subject.CommonName != want.id || cert.CheckSignatureFrom(m.Authority.cert) != nil {
				t.Errorf("got a certificate of %v, %v, want one of %s by the site's authority", cert.Subject, err, want.id)
			}
		}
	}
}

// What a spreadsheet or a tired person makes of a table that is right means the same.
func TestTablesAreForgiven(t *testing.T) {
	const plain = "gateway.id,station[0].id,board,replaces\ngw-1,washer-1,1000000012abcdef,true\ngw-2,washer-2,,false\n"
	semicolons := strings.ReplaceAll(plain, ",", ";")
	tabs := strings.ReplaceAll(plain, ",", "\t")
	change := strings.NewReplacer
	want, err := ReadCSV(strings.NewReader(plain), "site.csv", ".")
	if err != nil {
		t.Fatal(err)
	}
	for what, rows := range map[string]string{
		"semicolons":                      semicolons,
		"a line that names them":          "sep=;\n" + semicolons,
		"such a line of Windows":          "\ufeffSEP=;\r\n" + strings.ReplaceAll(semicolons, "\n", "\r\n"),
		"such a line in quotes":           "\"sep=,\"\n" + plain,
		"such a line with a tab":          "sep=\t\n" + tabs,
		"tabs":                            tabs,
		"Unicode text of Excel":           utf16In(binary.LittleEndian, "\ufeff"+strings.ReplaceAll(tabs, "\n", "\r\n")),
		"an old Mac":                      strings.ReplaceAll(plain, "\n", "\r"),
		"capitals and blanks":             change("gateway.id", " Gateway.ID ", "board", "\u00a0Board").Replace(plain),
		"quotes all over":                 change("gateway.id", `"gateway.id"`, "gw-1", `"gw-1"`).Replace(plain),
		"empty rows and columns":          "\n" + strings.ReplaceAll(plain, "\n", ",,\n") + ",,,,,\n\n",
		"blanks in cells":                 strings.ReplaceAll(plain, ",", " , "),
		"a German spreadsheet":            change("true", "WAHR", "false", "FALSCH").Replace(semicolons),
		"an Italian one":                  change("true", "VERO", "false", "FALSO").Replace(semicolons),
		"a French one":                    change("true", "VRAI", "false", "FAUX").Replace(semicolons),
		"capitals in a serial number":     change("12abcdef", "12ABCDEF").Replace(plain),
		"cells beyond the header, empty":  change("false\n", "false,,\n").Replace(plain),
		"no line end at the end":          strings.TrimSuffix(plain, "\n"),
		"a column that is nowhere filled": change("board,replaces", "board,replaces,", "true\n", "true,\n", "false\n", "false,\n").Replace(plain),
	} {
		got, err := ReadCSV(strings.NewReader(rows), "site.csv", ".")
		for i := range got {
			got[i].From = want[min(i, 1)].From // the rows may stand elsewhere
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
		}
	}
}

// Two hundred gateways of one template have one note, and one mistake.
func TestWhatAllHaveIsSaidOnce(t *testing.T) {
	m := newSite(t)
	var rows strings.Builder
	rows.WriteString("gateway.id,station[0].id,station[0].relay_active,station[0].relay\n")
	for i := range 12 {
		active := "low"
		if i < 2 {
			active = "high"
		}
		fmt.Fprintf(&rows, "gw-%d,washer-%d,%s,GPIO17\n", i, i, active)
	}
	make := func(rows string) ([]Made, error) {
		t.Helper()
		orders, err := ReadCSV(strings.NewReader(rows), "site.csv", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return m.Make(orders)
	}
	made, err := make(rows.String())
	if err != nil {
		t.Fatal(err)
	}
	notes := Notes(made)
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "gw-2, gw-3, gw-4 and 7 more: station[0]: its relay closes with a low level") {
		t.Errorf("got %q, want one note with its gateways", notes)
	}
	write(t, m.Template, strings.Replace(template, "tls://broker.example.org:8883", "tcp://broker.example.org:1883", 1), 0o644)
	if made, err = make(rows.String()); err != nil {
		t.Fatal(err)
	}
	if notes = Notes(made); len(notes) != 2 || !strings.Contains(strings.Join(notes, "\n"), "all 12: broker.url is not encrypted") {
		t.Errorf("got %q, want a note of all", notes)
	}
	if notes = Notes(made[:1]); len(notes) != 1 || !strings.HasPrefix(notes[0], "gw-0: broker.url") {
		t.Errorf("got %q, want a note of one", notes)
	}

	for mistake, says := range map[string]string{
		"GPIO17\n": "site.csv:2, site.csv:3, site.csv:4 and 9 more: " + m.Template + ":26: panel.green: GPIO5 is taken by station[0].relay",
		"":         "site.csv:2, site.csv:3, site.csv:4 and 9 more: " + m.Template + ":13: list.keys: ",
	} {
		doc, rows := template, rows.String()
		if mistake == "" { // a line of the template, below which nothing is what it was
			doc = strings.Replace(template, `keys = "list-keys.jwks"`, `keys = "command-key.jwk"`, 1)
		} else {
			rows = strings.ReplaceAll(rows, mistake, "GPIO5\n")
		}
		write(t, m.Template, doc, 0o644)
		if _, err := make(rows); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with %q", err, says)
		}
	}
	write(t, m.Template, strings.Replace(template, "billing", "biling", 1), 0o644)
	if _, err := make(rows.String()); err == nil || err.Error() != "template: "+m.Template+":5: gateway.biling: unknown key; see the reference config for the ones there are" {
		t.Errorf("got %v, want the template's own mistake, once", err)
	}
}

// Whatever the office names is read to an end.
func TestFilesWithoutAnEnd(t *testing.T) {
	const endless = "/dev/zero"
	m := newSite(t)
	dir := filepath.Dir(m.Template)
	if _, err := ReadAuthority(endless, filepath.Join(dir, "ca.key"), 1); !errors.Is(err, durable.ErrLarge) {
		t.Errorf("authority: got %v", err)
	}
	if _, err := m.Make([]Order{{From: "x", Values: map[string]string{"gateway.id": "gw-1", "broker.ca": endless}}}); err == nil || !strings.Contains(err.Error(), "x: broker.ca: /dev/zero: larger than 1 MiB") {
		t.Errorf("file of an order: got %v", err)
	}
	m.Template = endless
	if _, err := m.Make([]Order{{}}); !errors.Is(err, durable.ErrLarge) || !strings.HasPrefix(err.Error(), "template: ") {
		t.Errorf("template: got %v", err)
	}
}

func TestFilesAsTheyComeToTheOffice(t *testing.T) {
	m := newSite(t)
	ca := filepath.Join(filepath.Dir(m.Template), "ca.pem")
	pem := read(t, ca)
	for as, doc := range map[string]string{"with a mark": "\ufeff" + strings.ReplaceAll(pem, "\n", "\r\n"), "as UTF-16": utf16In(binary.LittleEndian, "\ufeff"+pem)} {
		write(t, ca, doc, 0o644)
		if f, err := Parse([]byte(m.file(t)), "x"); err != nil || f.Files["ca.pem"] != pem {
			t.Errorf("%s: got %q, %v, want it as it was", as, f.Files["ca.pem"], err)
		}
	}
	write(t, ca, string(m.Authority.cert.Raw), 0o644)
	if _, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-1"}}}); err == nil || !strings.Contains(err.Error(), "broker.ca: "+ca+" is not plain text; want PEM") {
		t.Errorf("got %v, want DER refused by its name", err)
	}
}

// The office has a clock: what has ended is not sent out. A board may have none.
func TestCertificatesThatHaveEnded(t *testing.T) {
	m := newSite(t)
	doc := []byte(m.file(t))
	for now, says := range map[time.Time]string{
		noon: "", noon.Add(-50 * 365 * 24 * time.Hour): "",
		noon.Add(25 * time.Hour):   "broker.cert: gateway.pem has ended on 2026-11-26; the broker lets nobody in with it",
		noon.Add(1001 * time.Hour): "broker.ca: ca.pem has ended on 2027-01-06; no broker can be trusted by it",
	} {
		if _, err := Check(doc, "x.toml", now); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v: got %v, want %q", now, err, says)
		}
	}
	m.Authority = nil
	m.Now = noon.Add(1001 * time.Hour)
	if _, err := m.Make([]Order{{From: "x", Values: map[string]string{"gateway.id": "gw-1"}}}); err == nil || !strings.Contains(err.Error(), "x: "+m.Template+":10: broker.ca: ca.pem has ended") {
		t.Errorf("got %v, want nothing made", err)
	}
}

func TestCertificateEndsWithItsAuthority(t *testing.T) {
	m := newSite(t)
	if made, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-1"}}}); err != nil || made[0].Notes != nil {
		t.Errorf("got %q, %v, want nothing noted of a certificate that lasts as long as it should", made[0].Notes, err)
	}
	m.Authority.Valid *= 1000
	made, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-1"}}})
	if err != nil || !strings.Contains(strings.Join(made[0].Notes, "\n"), "its certificate ends on 2027-01-06 with the authority's, in 41 days") {
		t.Errorf("got %q, %v, want its end noted", made[0].Notes, err)
	}
	cert, _, err := m.Authority.issue("gw-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(cert)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !c.NotAfter.Equal(m.Authority.cert.NotAfter) {
		t.Errorf("got the end %v, %v, want %v", c.NotAfter, err, m.Authority.cert.NotAfter)
	}
	if _, _, err := m.Authority.issue("gw-1", m.Authority.cert.NotAfter); err == nil {
		t.Error("got a certificate of an authority that has expired")
	}
}

func TestOwnCertificatesOfTheRow(t *testing.T) {
	m, dir := newSite(t), t.TempDir()
	cert, key, err := m.Authority.issue("gw-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "certs/gw-1.pem"), string(cert), 0o644)
	write(t, filepath.Join(dir, "certs/gw-1.key"), string(key), 0o600)
	orders, err := ReadCSV(strings.NewReader("gateway.id,broker.cert,broker.key\ngw-1,certs/gw-1.pem,certs/gw-1.key\n"), "site.csv", dir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := m.Make(orders)
	if err != nil {
		t.Fatal(err)
	}
	two := Order{From: "site.csv:3", Dir: dir, Values: map[string]string{
		"gateway.id": "gw-2", "station[0].id": "dryer", "broker.cert": "certs/gw-1.pem", "broker.key": "certs/gw-1.key"}}
	if _, err := m.Make(append(orders, two)); err == nil || !strings.Contains(err.Error(), "broker.key is in site.csv:2 already") {
		t.Errorf("got %v, want one key for two gateways refused", err)
	}
	if alone, err := m.Make([]Order{two}); err != nil || !strings.Contains(strings.Join(alone[0].Notes, "\n"), `broker.cert is of "gw-1", not of "gw-2"`) {
		t.Errorf("got %v, %v, want a note", alone, err)
	}
	f, err := Parse(made[0].Doc, "x")
	if err != nil || f.Files["gw-1.pem"] != string(cert) || !strings.Contains(string(f.Config()), `cert = "gw-1.pem"`) || made[0].Cert != nil {
		t.Errorf("got %v and\n%s", err, made[0].Doc)
	}
}

// What is wrong is said at the office, and nothing is made.
func TestOfficeMistakes(t *testing.T) {
	for _, tc := range []struct{ what, rows, says string }{
		{"unknown column", "gateway.id,gateway.colour\ngw-1,red\n", `site.csv:1: column B: "gateway.colour": no such key`},
		{"no id", "gateway.language\nde\n", `no column gateway.id, only ["gateway.language"]`},
		{"half of UTF-16", "\xff\xfeg\x00a", "save it from the spreadsheet as CSV UTF-8"},
		{"UTF-16 without a mark", "g\x00a\x00", "save it from the spreadsheet as CSV UTF-8"},
		{"saved in Latin-1", "gateway.id,gateway.site\ngw-1,b\xe4ckerei\n", "save it from the spreadsheet as CSV UTF-8"},
		{"a mark of UTF-8 and quotes, all well but the row", "\ufeff\"gateway.id\"\nGW 1\n", "site.csv:2: "},
		{"lines of an old Mac", "gateway.id\rGW 1\r", "site.csv:2: "},
		{"another file", strings.Repeat("x", durable.MaxFile+1), "larger than 1 MiB"},
		{"half a number", "gateway.id,reader[0].gain_db\ngw-1,33.5\n", "reader.gain_db: float; want a whole number"},
		{"empty id", "gateway.id,gateway.language\n,de\n", "gateway.id: \"\""},
		{"bad id", "gateway.id\nGW 1\n", "1 to 64 of a-z"},
		{"id twice", "gateway.id,station[0].id\ngw-1,a\ngw-1,b\n", "site.csv:3: gateway gw-1 is in site.csv:2 already"},
		{"station twice in a site", "gateway.id\ngw-1\ngw-2\n", "station washer of site via-roma-12 is in site.csv:2 already; want another in station[0].id"},
		{"column twice", "gateway.id,gateway.id\ngw-1,gw-1\n", "twice"},
		{"no rows", "gateway.id\n", "no gateway in it"},
		{"nothing", "", "site.csv: empty; want a header"},
		{"ragged", "gateway.id,board\ngw-1\n", "site.csv:2: wrong number of fields: 1, the header has 2"},
		{"file that is not there", "gateway.id,list.keys\ngw-1,nowhere.jwks\n", "site.csv:2: list.keys: open"},
		{"language that is none", "gateway.id,gateway.language\ngw-1,rm\n", `"rm": want one of`},
		{"station that the template lacks", "gateway.id,station[4].id\ngw-1,x\n", "the file has no station[4]"},
		{"no yes and no no", "gateway.id,replaces\ngw-1,perhaps\n", "want true or false"},
		{"state elsewhere", "gateway.id,gateway.state\ngw-1,/tmp\n", "/var/lib/badged"},
		{"id of what", "ID,board\ngw-1,\n", `column A: "ID": no such key of badged.toml, and none of password, board and replaces; is it gateway.id or station[0].id?`},
		{"serial of what", "gateway.id, Serial \ngw-1,1\n", `column B: "Serial": no such key of badged.toml, and none of password, board and replaces; is it board (the board's) or station[0].serial?`},
		{"words for brackets", "gateway id\ngw-1\n", "is it gateway.id?"},
		{"a table", "gateway.id,station[0].meter\ngw-1,s0\n", "column B"},
		{"no name above", "gateway.id,,board\ngw-1,x,\n", `site.csv:2: column B: "x" has no name of a column above it`},
		{"a comma too many", "gateway.id,board\ngw-1,a,b\n", "site.csv:2: wrong number of fields: 3, the header has 2"},
		{"a quotation mark", "gateway.id,password\ngw-1,a\"b\n", "site.csv:2: bare \" in non-quoted"},
		{"a quotation mark that opens", "gateway.id,password\ngw-1,\"ab\ngw-2,c\n", "in the row that begins in line 2"},
		{"a separator that is none", "sep=x\ngateway.idxboard\n", `site.csv:1: it says "sep=x"`},
		{"a line that names it, and an error", "sep=;\ngateway.id\nGW 1\n", "site.csv:3: "},
		{"a serial number that was rounded", "gateway.id;board\ngw-1;1,00E+15\n", `site.csv:2: column B: board: "1,00E+15": the spreadsheet has rounded a number`},
		{"a decimal comma", "gateway.id;station[0].idle_power_w\ngw-1;15,5\n", `"15,5": want a number, with a point`},
		{"head that is none", "gateway.id,list.head\ngw-1,7\n", "list.head"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			orders, err := ReadCSV(strings.NewReader(tc.rows), "site.csv", t.TempDir())
			var made []Made
			if err == nil {
				made, err = newSite(t).Make(orders)
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) || made != nil {
				t.Errorf("got %v and %d files, want %q", err, len(made), tc.says)
			}
		})
	}
}

func TestAuthorityFilesThatAreWrong(t *testing.T) {
	m := newSite(t)
	dir := filepath.Dir(m.Template)
	ca, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	leaf, leafKey, err := m.Authority.issue("gw-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "leaf.pem"), string(leaf), 0o644)
	write(t, filepath.Join(dir, "leaf.key"), string(leafKey), 0o600)
	if _, err := ReadAuthority(filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.key"), 1); err == nil || !strings.Contains(err.Error(), "CA:TRUE") {
		t.Errorf("got %v, want a leaf refused", err)
	}
	if _, err := ReadAuthority(ca, filepath.Join(dir, "leaf.key"), 1); err == nil {
		t.Error("got an authority with another's key")
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAuthority(ca, key, 1); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v, want a key that others can read refused", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(template + "\n[provision]\nformat = 1\nmade = \"2026-11-25T12:00:00Z\"\n[provision.files]\n\"ca.pem\" = '''\nx'''\n")
	f.Add("[provision]\nfiles = { a = \"b\" }\nformat = 1")
	f.Add("provision = 1")
	f.Add("[[provision]]\nformat = 1\nprovision.x = 2")
	f.Fuzz(func(t *testing.T, doc string) {
		file, err := Parse([]byte(doc), "x")
		if err != nil {
			return
		}
		if strings.Contains(string(file.Config()), "[provision]") && !strings.Contains(string(file.Doc[file.head:]), "[provision]") {
			t.Error("the configuration has kept [provision]")
		}
		_, _ = Check([]byte(doc), "x", noon)
	})
}
