package session

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Hours are weekly opening hours in local time. The zero value is always open.
type Hours struct {
	text  string
	spans []span
}

// span is open from minute from to before minute to of the days it names; past
// midnight where to is not after from.
type span struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day, 0 to 1440
}

// ParseHours reads opening hours such as "Mo-Sa 07:00-21:00", "Mo,We 22:00-06:00;
// Su 08:00-12:00,14:00-18:00" or "08:00-20:00" (every day). Days are Mo Tu We Th
// Fr Sa Su, ranges of them may wrap round, "24/7" and "" are always open. A time
// range that ends at or before its start runs into the next day.
func ParseHours(text string) (Hours, error) {
	h := Hours{text: strings.TrimSpace(text)}
	if h.text == "" || h.text == "24/7" {
		return h, nil
	}
	for rule := range strings.SplitSeq(h.text, ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		spans, err := parseRule(rule)
		if err != nil {
			return Hours{}, fmt.Errorf("hours %q: %w", text, err)
		}
		h.spans = append(h.spans, spans...)
	}
	if len(h.spans) == 0 {
		return Hours{}, fmt.Errorf("hours %q: no time range, want e.g. Mo-Sa 07:00-21:00", text)
	}
	return h, nil
}

// parseRule reads days and the time ranges that hold for them, in any mixture
// that a comma can separate: a new day after a time begins another group.
func parseRule(rule string) ([]span, error) {
	var spans []span
	days, any, timed := [7]bool{}, false, false
	for word := range strings.FieldsFuncSeq(rule, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if !strings.Contains(word, ":") {
			if timed {
				days, timed = [7]bool{}, false
			}
			if err := addDays(&days, word); err != nil {
				return nil, err
			}
			any = true
			continue
		}
		from, to, err := parseRange(word)
		if err != nil {
			return nil, err
		}
		if !any {
			days, any = [7]bool{true, true, true, true, true, true, true}, true
		}
		timed = true
		spans = append(spans, span{days, from, to})
	}
	if !timed {
		return nil, fmt.Errorf("%q has no time range, want e.g. 07:00-21:00", strings.TrimSpace(rule))
	}
	return spans, nil
}

func addDays(days *[7]bool, word string) error {
	first, last, isRange := strings.Cut(word, "-")
	if !isRange {
		last = first
	}
	from, to := weekday(first), weekday(last)
	if from < 0 || to < 0 {
		return fmt.Errorf("%q is no day, want Mo Tu We Th Fr Sa Su", word)
	}
	for d := from; ; d = (d + 1) % 7 {
		days[d] = true
		if d == to {
			return nil
		}
	}
}

func weekday(name string) int {
	const names = "sumotuwethfrsa"
	if len(name) != 2 {
		return -1
	}
	i := strings.Index(names, strings.ToLower(name))
	if i < 0 || i%2 != 0 {
		return -1
	}
	return i / 2
}

func parseRange(word string) (from, to int, err error) {
	a, b, ok := strings.Cut(word, "-")
	if ok {
		from, to = minutes(a), minutes(b)
	}
	switch {
	case !ok || from < 0 || to < 0 || from == 24*60:
		return 0, 0, fmt.Errorf("%q is no time range, want e.g. 07:00-21:00", word)
	case from == to:
		return 0, 0, fmt.Errorf("%q is empty, want 00:00-24:00 for a whole day", word)
	}
	return from, to, nil
}

func minutes(clock string) int {
	h, m, ok := strings.Cut(clock, ":")
	hh, err1 := strconv.ParseUint(h, 10, 8)
	mm, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || len(m) != 2 || err1 != nil || err2 != nil || mm > 59 || hh*60+mm > 24*60 {
		return -1
	}
	return int(hh*60 + mm)
}

// String is the text that was parsed.
func (h Hours) String() string { return h.text }

// Open tells whether t, in the zone it carries, is within the hours. They are
// read off a clock on the wall, so that 07:00 stays 07:00 in summer time; on the
// day that an hour occurs twice a range that names it is open in both.
func (h Hours) Open(t time.Time) bool {
	if len(h.spans) == 0 {
		return true
	}
	today, m := int(t.Weekday()), t.Hour()*60+t.Minute()
	for _, s := range h.spans {
		if s.open(today, m) {
			return true
		}
	}
	return false
}

func (s span) open(today, m int) bool {
	if s.from < s.to {
		return s.days[today] && s.from <= m && m < s.to
	}
	return s.days[today] && s.from <= m || s.days[(today+6)%7] && m < s.to
}
