package cache

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"badged/session"
)

// NamedStations returns the stations that badges of the list in the file at path
// name, of badges that could start a session there: accepted, and neither master
// nor service. It only reads, also while a daemon has the list. ok is false while
// no list is in force.
func NamedStations(path string) (stations []string, ok bool, err error) {
	c, err := newConnector(path, listSchema.pageSize)
	if err != nil {
		return nil, false, err
	}
	db := sql.OpenDB(c.reading())
	defer db.Close()
	if stations, ok, err = namedStations(db); err != nil {
		err = fmt.Errorf("read list %s: %w", path, err)
	}
	return stations, ok, err
}

func namedStations(db *sql.DB) (stations []string, ok bool, err error) {
	if err := db.QueryRow("SELECT count(*) FROM inforce").Scan(&ok); err != nil || !ok {
		return nil, false, err
	}
	// Few badges name stations: the others are not unpacked.
	rows, err := db.Query(`SELECT DISTINCT e.more FROM inforce f JOIN entry e ON e.gen = f.gen WHERE e.more LIKE '%"stations":%'`)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		m := more{Status: session.Accepted, Role: session.User}
		if err := rows.Scan(&text); err != nil {
			return nil, false, err
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return nil, false, err
		}
		if m.Status == session.Accepted && m.Role == session.User {
			stations = append(stations, m.Stations...)
		}
	}
	slices.Sort(stations)
	return slices.Compact(stations), true, rows.Err()
}
