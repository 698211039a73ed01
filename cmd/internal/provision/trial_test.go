package provision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// replaced is a gateway that has been gw-7 and is on trial with another broker.
func replaced(t *testing.T) (root, first string, m Maker) {
	t.Helper()
	root, m = newRoot(t, "10000000abcd"), newSite(t)
	provisioned(t, root, m.file(t))
	first = inForce(t, root)
	provisioned(t, root, m.file(t, "broker.url", "tls://wrong.example.org:8883"))
	if trialOf(t, root) == nil {
		t.Fatal("got no trial, want a replacement on trial")
	}
	return root, first, m
}

func TestReplacementIsOnTrial(t *testing.T) {
	root, first, _ := replaced(t)
	golden(t, "trial.txt", result(t, root))
	if back := trialOf(t, root).Previous; read(t, back) != first {
		t.Errorf("got %s to go back to, want the configuration before", back)
	}
	if r, err := boot(t, root); err != nil || trialOf(t, root) == nil {
		t.Errorf("got %+v, %v, want a restart to change nothing", r, err)
	}
}

func TestReplacementThatConnectsStays(t *testing.T) {
	root, first, _ := replaced(t)
	back := trialOf(t, root).Previous
	if err := trialOf(t, root).Passed(); err != nil {
		t.Fatal(err)
	}
	if r, err := boot(t, root); err != nil || r.State.Outcome != Installed || inForce(t, root) == first || trialOf(t, root) != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := os.Stat(back); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the configuration before gone with its keys", err)
	}
}

func TestReplacementThatCannotConnectGoes(t *testing.T) {
	root, first, m := replaced(t)
	if err := trialOf(t, root).Failed("connect with TLS: no such host\x1b[31m wrong.example.org"); err != nil {
		t.Fatal(err)
	}
	r, err := boot(t, root)
	if err != nil || r.State.Outcome != FellBack || inForce(t, root) != first || trialOf(t, root) != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	golden(t, "fell-back.txt", result(t, root))
	for range 2 { // it is said until something else is installed
		if r, err = boot(t, root); err != nil || r.State.Outcome != FellBack || inForce(t, root) != first {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	again := provisioned(t, root, m.file(t, "broker.url", "tls://right.example.org:8883"))
	if again.State.Outcome != Installed || trialOf(t, root) == nil {
		t.Errorf("got %+v, want a new trial that no verdict of old ends", again.State)
	}
}

func TestThirdFileInATrialKeepsTheFirstToGoBackTo(t *testing.T) {
	root, first, m := replaced(t)
	provisioned(t, root, m.file(t, "broker.url", "tls://third.example.org:8883"))
	if back := trialOf(t, root).Previous; read(t, back) != first {
		t.Errorf("got %s to go back to, want the one that worked", read(t, back))
	}
}

func TestVerdictsOfOthersEndNothing(t *testing.T) {
	for what, text := range map[string]string{
		"another version": `{"version": "zzz", "connected": false}`,
		"damaged":         `{"vers`,
	} {
		root, first, _ := replaced(t)
		write(t, filepath.Join(root, stateFolder, verdictName), text, 0o600)
		if _, err := boot(t, root); err != nil || inForce(t, root) == first {
			t.Errorf("%s: got the configuration before, %v", what, err)
		}
	}
	root, first, _ := replaced(t)
	elsewhere := filepath.Join(t.TempDir(), "x")
	write(t, elsewhere, `{"version": "`+trialOf(t, root).version+`"}`, 0o600)
	if err := os.Symlink(elsewhere, filepath.Join(root, stateFolder, verdictName)); err != nil {
		t.Fatal(err)
	}
	if _, err := boot(t, root); err != nil || inForce(t, root) == first {
		t.Errorf("got %v, want root to follow no link of the daemon's", err)
	}
}

func TestHandWrittenConfigurationIsGoneBackTo(t *testing.T) {
	root, m := newRoot(t, "1"), newSite(t)
	own := strings.Replace(template, `site_key = "site.key"`, `uid = "plain"`, 1)
	own = strings.Replace(strings.Replace(own, `ca = "ca.pem"`, "", 1), "[commands]\nkeys = \"command-keys.jwks\"\n", "", 1)
	etc := filepath.Join(root, "etc/badged")
	write(t, filepath.Join(etc, configName), own, 0o640)
	write(t, filepath.Join(etc, "list-keys.jwks"), read(t, filepath.Join(filepath.Dir(m.Template), "list-keys.jwks")), 0o640)
	provisioned(t, root, m.file(t))
	if err := trialOf(t, root).Failed("no route"); err != nil {
		t.Fatal(err)
	}
	if r, err := boot(t, root); err != nil || r.State.Outcome != FellBack || inForce(t, root) != own {
		t.Errorf("got %+v, %v and\n%s", r, err, inForce(t, root))
	}
}

func TestBrokenConfigurationIsNotGoneBackTo(t *testing.T) {
	root := newRoot(t, "1")
	write(t, filepath.Join(root, "etc/badged", configName), "[gateway]\nid = 7\n", 0o640)
	provisioned(t, root, newSite(t).file(t))
	if trialOf(t, root) != nil {
		t.Error("got a trial, want none: there is nothing to go back to")
	}
}

func TestCardInAnotherBoard(t *testing.T) {
	root, m := newRoot(t, "10000000abcd"), newSite(t)
	provisioned(t, root, m.file(t))
	was := inForce(t, root)
	setSerial(t, root, "20000000beef")
	for range 2 {
		if r, err := boot(t, root); err != nil || r.State.Outcome != Moved || inForce(t, root) != was {
			t.Errorf("got %+v, %v, want the gateway to go on and to say it", r, err)
		}
	}
	golden(t, "moved.txt", result(t, root))
	golden(t, "moved-refused.txt", refused(t, root, m.file(t)))
	other := m.file(t, "gateway.id", "gw-8")
	if r := provisioned(t, root, other); r.State.Text != "provisioned as gw-8" || !strings.Contains(r.Text, "was gateway gw-7 until now") {
		t.Errorf("got %+v, want a card to be used for another gateway, and what that means", r)
	}
}

func TestBoardThatReplacesAnother(t *testing.T) {
	root, m := newRoot(t, "10000000abcd"), newSite(t)
	provisioned(t, root, m.file(t))
	setSerial(t, root, "20000000beef")
	b, err := OpenBoard(root)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := b.Boot(true); err != nil || r.State.Outcome != Installed {
		t.Errorf("got %+v, %v, want it taken over", r, err)
	}
	if r, err := boot(t, root); err != nil || r.State.Outcome != Installed {
		t.Errorf("got %+v, %v, want nothing more to be said", r, err)
	}
	setSerial(t, root, "30000000cafe")
	made, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-7"}, Replaces: true}})
	if err != nil {
		t.Fatal(err)
	}
	if r := provisioned(t, root, string(made[0].Doc)); r.State.Outcome != Installed || r.State.Board != "30000000cafe" {
		t.Errorf("got %+v, want a file that replaces to be taken", r.State)
	}
}

func TestFileRemembersItsBoard(t *testing.T) {
	m := newSite(t)
	stick := filepath.Join(t.TempDir(), "gw-7.toml")
	write(t, stick, m.file(t), 0o640)
	apply := func(serial string, replace bool) (Report, error) {
		b, err := OpenBoard(newRoot(t, serial))
		if err != nil {
			t.Fatal(err)
		}
		return b.Apply([]byte(read(t, stick)), stick, replace)
	}
	r, err := apply("10000000abcd", false)
	if err != nil || !strings.Contains(r.Text, "delete it") {
		t.Errorf("got %v\n%s", err, r.Text)
	}
	if info, err := os.Stat(stick); err != nil || info.Mode() != 0o640 {
		t.Errorf("got %v, %v, want the mode as it was", info.Mode(), err)
	}
	if r, err := apply("20000000beef", false); !errors.Is(err, ErrRefused) || !strings.Contains(r.Text, "board 10000000abcd") {
		t.Errorf("got %v\n%s\nwant a refusal on a second board", err, r.Text)
	}
	if _, err := apply("10000000abcd", false); err != nil {
		t.Errorf("got %v, want it taken once more where it was", err)
	}
	if _, err := apply("20000000beef", true); err != nil {
		t.Errorf("got %v, want it taken by a board that replaces the first", err)
	}
}

// A file that replaces a board is for the one that it names, and no third.
func TestReplacingFileForOneBoard(t *testing.T) {
	m := newSite(t)
	made, err := m.Make([]Order{{Values: map[string]string{"gateway.id": "gw-7"}, Board: "10000000abcd", Replaces: true}})
	if err != nil {
		t.Fatal(err)
	}
	other := newRoot(t, "20000000beef")
	insert(t, other, string(made[0].Doc))
	if r, err := boot(t, other); err == nil || !strings.Contains(r.Text, "the file is for board 10000000abcd") {
		t.Errorf("got %v and\n%s", err, r.Text)
	}
	provisioned(t, newRoot(t, "10000000abcd"), string(made[0].Doc))
}

// Two runs at once, as of ssh while the board starts, are two runs in a row.
func TestTwoRunsAtOnce(t *testing.T) {
	root, m := newRoot(t, "1"), newSite(t)
	provisioned(t, root, m.file(t))
	docs := []string{m.file(t, "gateway.language", "fr"), m.file(t, "gateway.language", "it")}
	ends := make(chan error)
	for _, doc := range docs {
		b, err := OpenBoard(root)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := b.Apply([]byte(doc), "", false)
			ends <- err
		}()
	}
	for range docs {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	c, ok := usable(t, root)
	if !ok || c.Language != "fr" && c.Language != "it" || trialOf(t, root) == nil {
		t.Errorf("got language %q, want one of the two, on trial", c.Language)
	}
}

func TestSameFileTwiceIsDoneAlready(t *testing.T) {
	root, m := newRoot(t, "1"), newSite(t)
	doc := m.file(t)
	one, two := provisioned(t, root, doc), provisioned(t, root, doc)
	if one.State != two.State || one.Text != two.Text || trialOf(t, root) != nil {
		t.Errorf("got %+v, then %+v", one, two)
	}
}
