package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// partitions are where the boot partition may be, newer systems first.
var partitions = []string{"/boot/firmware", "/boot"}

// partition is the boot partition of this system, "" if it has none.
func (b *Board) partition() string {
	for _, dir := range partitions {
		if info, err := os.Stat(filepath.Join(b.root, dir)); err == nil && info.IsDir() {
			return filepath.Join(b.root, dir)
		}
	}
	return ""
}

// tell writes the result where the technician reads it, on any system's editor.
func (b *Board) tell(dir, text string) error {
	return b.disk.replace(filepath.Join(dir, ResultName), []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0)
}

// misplaced says what is wrong with where the files lie that were found.
func (b *Board) misplaced(found []string) error {
	path := strings.TrimPrefix(found[0], b.root)
	switch name := filepath.Base(path); {
	case len(found) > 1:
		var all []string
		for _, p := range found {
			all = append(all, strings.TrimPrefix(p, b.root))
		}
		return fmt.Errorf("there is more than one: %s. Leave the right one there, as %s", strings.Join(all, ", "), FileName)
	case !slices.Contains(partitions, filepath.Dir(path)):
		return fmt.Errorf("the file is in the folder %s. Take it out of there, to where config.txt is, as %s", filepath.Base(filepath.Dir(path)), FileName)
	case strings.HasSuffix(strings.ToLower(name), ".txt"):
		return fmt.Errorf("the file is called %s. Rename it to %s: Windows hides endings such as .txt, Explorer shows them under View, File name extensions", name, FileName)
	case !strings.EqualFold(name, FileName):
		return fmt.Errorf("the file is called %s. If it is the one from the office, rename it to %s; if not, take it off", name, FileName)
	}
	return nil
}

// look finds provisioning files on the boot partition: the right name, in any
// letters as FAT has it, or if that is nowhere, what may have become of it on the
// way, also in a folder.
func (b *Board) look() (right []string, err error) {
	var others []string
	for _, dir := range partitions {
		all, err := os.ReadDir(filepath.Join(b.root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range all {
			path := filepath.Join(b.root, dir, e.Name())
			switch {
			case strings.EqualFold(e.Name(), FileName):
				right = append(right, path)
			case e.Type().IsRegular() && mayBe(e.Name()):
				others = append(others, path)
			case e.IsDir() && !hidden(e.Name()) && !slices.Contains(partitions, filepath.Join(dir, e.Name())):
				inside, _ := os.ReadDir(path) // one that cannot be read has none
				for _, f := range inside {
					if f.Type().IsRegular() && mayBe(f.Name()) {
						others = append(others, filepath.Join(path, f.Name()))
					}
				}
			}
		}
	}
	if len(right) > 0 {
		return right, nil
	}
	return others, nil
}

// hidden tells what is no file of people's: a Mac's notes on each file, and dustbins.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "$") }

// mayBe tells whether people or systems may have made name of FileName: with more
// before or behind it, or in eight letters and three.
func mayBe(name string) bool {
	name = strings.ToLower(name)
	switch {
	case hidden(name), strings.HasPrefix(name, "badged-result"):
		return false
	case strings.HasPrefix(name, "badged-provision"), strings.HasPrefix(name, "badged~"):
		return true
	}
	named := strings.Contains(name, "provision")
	return strings.Contains(name, ".toml") && (named || strings.Contains(name, "badged")) || strings.HasSuffix(name, ".txt") && named
}

// fromPartition takes a file off the boot partition once it is installed: it has
// secrets in it, and FAT has no rights.
func (b *Board) fromPartition(path string) job {
	dir := filepath.Dir(path)
	for _, p := range partitions {
		if strings.HasPrefix(path, filepath.Join(b.root, p)+"/") { // the result is never in a folder of it
			dir = filepath.Join(b.root, p)
			break
		}
	}
	return job{
		name: FileName,
		begin: func() error {
			if err := b.tell(dir, wordsBegun); err != nil {
				return fmt.Errorf("the boot partition cannot be written, so the file and its secrets would stay there: %w", err)
			}
			return nil
		},
		refused: func(text string) error { return b.tell(dir, text) },
		done: func(f *File, words func(string) string) (string, error) {
			text := words(secretsGone(f.gateway()))
			if err := b.tell(dir, text); err != nil {
				return text, err
			}
			err := errors.Join(b.disk.remove(path), b.disk.sync(dir))
			if err == nil {
				return text, nil
			}
			text = words(fmt.Sprintf("The provisioning file could NOT be taken off this partition (%v).\nDelete it yourself: it has secrets in it.\n", err))
			return text, errors.Join(err, b.tell(dir, text))
		},
	}
}
