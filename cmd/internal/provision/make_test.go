package provision

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/config"
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

func TestCertificateEndsWithItsAuthority(t *testing.T) {
	m := newSite(t)
	m.Authority.Valid *= 1000
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
		{"unknown column", "gateway.id,gateway.colour\ngw-1,red\n", "site.csv:2: gateway.colour: no such key"},
		{"no id", "gateway.language\nde\n", `no column gateway.id, only ["gateway.language"]`},
		{"saved as UTF-16", "\xff\xfeg\x00a\x00", "save it from the spreadsheet as CSV UTF-8"},
		{"saved in Latin-1", "gateway.id,gateway.site\ngw-1,b\xe4ckerei\n", "save it from the spreadsheet as CSV UTF-8"},
		{"a mark of UTF-8 and quotes, all well but the row", "\ufeff\"gateway.id\"\nGW 1\n", "site.csv:2: "},
		{"lines of an old Mac", "gateway.id\rGW 1\r", "site.csv:2: "},
		{"another file", strings.Repeat("x", MaxFile+1), "larger than 1 MiB"},
		{"half a number", "gateway.id,reader[0].gain_db\ngw-1,33.5\n", "reader.gain_db: float; want a whole number"},
		{"empty id", "gateway.id,gateway.language\n,de\n", "gateway.id: \"\""},
		{"bad id", "gateway.id\nGW 1\n", "1 to 64 of a-z"},
		{"id twice", "gateway.id,station[0].id\ngw-1,a\ngw-1,b\n", "site.csv:3: gateway gw-1 is in site.csv:2 already"},
		{"station twice in a site", "gateway.id\ngw-1\ngw-2\n", "station washer of site via-roma-12 is in site.csv:2 already"},
		{"column twice", "gateway.id,gateway.id\ngw-1,gw-1\n", "twice"},
		{"no rows", "gateway.id\n", "no gateway in it"},
		{"nothing", "", "site.csv: empty; want a header"},
		{"ragged", "gateway.id,board\ngw-1\n", "site.csv:2: wrong number of fields: 1, the header has 2"},
		{"file that is not there", "gateway.id,list.keys\ngw-1,nowhere.jwks\n", "site.csv:2: list.keys: open"},
		{"language that is none", "gateway.id,gateway.language\ngw-1,rm\n", `"rm": want one of`},
		{"station that the template lacks", "gateway.id,station[4].id\ngw-1,x\n", "the file has no station[4]"},
		{"no yes and no no", "gateway.id,replaces\ngw-1,perhaps\n", "want true or false"},
		{"state elsewhere", "gateway.id,gateway.state\ngw-1,/tmp\n", "/var/lib/badged"},
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
		_, _ = Check([]byte(doc), "x")
	})
}
