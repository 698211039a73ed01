package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"badged/cmd/internal/config"
)

const title = "badged: provisioning of this board\n\n"

// wordsBegun is what is found when the power was cut in the middle.
const wordsBegun = title + `BEGUN. The file was found and is being installed.

If this text stays, the power was cut in the middle. Nothing is half done: start
the board again, with this card in it, and it goes on by itself.
`

func (b *Board) wordsDone(c config.Config, f *File, cur current, onTrial bool, secrets string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%sDONE. This board is gateway %s.\n\n", title, c.ID)
	line := func(what, text string) { fmt.Fprintf(&t, "  %-10s %s\n", what, text) }
	line("site", c.Site)
	line("board", orUnknown(b.serial))
	line("broker", c.Broker.URL.String())
	line("list", c.List.Name)
	for _, s := range c.Stations {
		line("station", fmt.Sprintf("%s (%s), relay at %s, reader %s", s.ID, s.Kind, s.Relay, s.Reader))
	}
	line("file made", cur.Made)
	t.WriteString("\n")
	if onTrial {
		fmt.Fprintf(&t, `It replaces a configuration, so it is on trial: if it cannot connect to the broker
within 15 minutes, and the one before can, the gateway goes back to that one when
no session is running, and says so here.
`)
	} else {
		t.WriteString("Without a network the gateway works all the same, and keeps trying to connect.\n")
	}
	notes, _ := c.Check() // it has passed
	if cur.before != "" {
		notes = append(notes, fmt.Sprintf("this card was gateway %s until now: a new ledger begins, and the records that the backend does not have yet are carried into it as those of %s. For another gateway take a fresh card", cur.before, c.ID))
	}
	if f.Board != "" && b.serial == "" {
		notes = append(notes, fmt.Sprintf("the file is for board %s alone, and this board tells no number: nobody but you can know whether it is that one", f.Board))
	}
	for _, p := range c.Ended(b.now()) {
		notes = append(notes, p.Text)
	}
	for _, n := range notes {
		t.WriteString("\nNote:\n" + wrap(plain(n)))
	}
	if secrets != "" {
		t.WriteString("\n" + secrets)
	}
	t.WriteString("\nNext: when the gateway has started, run badgectl doctor\n")
	return t.String()
}

// secretsGone is said before the file goes, so that the result is there when the
// file is not.
func secretsGone(gateway string) string {
	return `The provisioning file had secrets in it and is no longer on this partition. What was
deleted from a flash card can still be read with effort: keep the card from others,
and if it gets lost, tell the office to revoke gateway ` + gateway + `.
`
}

func orUnknown(serial string) string {
	if serial == "" {
		return "has no serial number, so a second one with this file is not recognised"
	}
	return serial
}

func (b *Board) wordsRefused(name string, cur current, why error) string {
	var t strings.Builder
	t.WriteString(title + "NOT DONE. Nothing was changed: ")
	switch {
	case cur.Gateway != "":
		fmt.Fprintf(&t, "the board is gateway %s as before.\n\n", cur.Gateway)
	case cur.config != "":
		t.WriteString("the configuration is as it was before.\n\n")
	default:
		t.WriteString("the board is no gateway yet.\n\n")
	}
	var bad *config.Error
	if errors.As(why, &bad) {
		fmt.Fprintf(&t, "What is wrong in %s:\n", name)
		for _, p := range bad.Problems {
			fmt.Fprintf(&t, "\n  %s\n%s", place(p), wrap(plain(p.Text)))
		}
	} else {
		fmt.Fprintf(&t, "What is wrong:\n\n%s", wrap(plain(advise(why))))
	}
	t.WriteString(`
The provisioning file is still where it was, with secrets in it: do not leave it
lying about. Correct it or get a new one from the office, copy it there again, and
start the board again.
`)
	return t.String()
}

// wordsInTheWay is for errors of the board itself, with or without a file to install.
func wordsInTheWay(why error) string {
	return title + `NOT DONE. Nothing was changed: something on this card is in the way.

` + wrap(plain(advise(why))) + `
If you can mend that, start the board again. Otherwise flash a fresh card and
provision that. A provisioning file that is here still has secrets in it: do not
leave it lying about.
`
}

// place is where a problem stands.
func place(p config.Problem) string {
	if p.Line == 0 {
		return p.Key
	}
	return fmt.Sprintf("line %d, %s", p.Line, p.Key)
}

// advise adds what to do about errors of the board itself.
func advise(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return err.Error() + ": the card is full; want a larger one, or room on it"
	case errors.Is(err, syscall.EROFS):
		return err.Error() + ": the card cannot be written; is its lock open, or the card worn out?"
	}
	return err.Error()
}

// plain is an error's text as a sentence: hints come in a line of their own.
func plain(s string) string { return strings.ReplaceAll(s, "\nhint: ", "; ") }

func oneLine(err error) string {
	return strings.ReplaceAll(plain(err.Error()), "\n", "; ")
}

// wrap breaks text at 84 columns, six of them empty.
func wrap(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		width := 0
		for _, word := range strings.Fields(line) {
			if width > 0 && width+1+len(word) > 78 {
				out.WriteString("\n")
				width = 0
			}
			if width == 0 {
				out.WriteString("      " + word)
				width = len(word)
				continue
			}
			out.WriteString(" " + word)
			width += 1 + len(word)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func wordsFellBack(cur current, v verdict) string {
	return fmt.Sprintf(`%sWENT BACK to the configuration before.

The new one, made %s, could not connect within 15 minutes,
and the one before could.

  gateway    %s
  broker     %s
  last error
%s
Sessions and records are as they were. Ask the office for a file with the right
broker, certificate or password, and copy it to this partition.
`, title, cur.Made, cur.Gateway, cur.Broker, wrap(printable(v.Why)))
}

// printable is what the daemon said, as far as it is text.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 1000)]
}

func (b *Board) wordsMoved(cur current) string {
	return fmt.Sprintf(`%sTWO BOARDS? This card was provisioned in another board than the one it is in.

  gateway    %s
  it was in  board %s
  it is in   board %s

The gateway works. But if the other board works too, with a copy of this card, two
boards have one identity: they push each other off the broker, and each of them
reports sessions as the other.

If the other board is out of service for good, say so here:

  sudo badgectl provision apply --replaces

If it is not, provision this board as a gateway of its own.
`, title, cur.Gateway, cur.Board, b.serial)
}

func marshal(v any) []byte {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // plain structs
	}
	return append(doc, '\n')
}

func ownerOf(info os.FileInfo) owner {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}
	}
	return owner{true, int(s.Uid), int(s.Gid)}
}
