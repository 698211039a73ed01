package gateway

import (
	"context"
	"encoding/json"
	"fmt"

	"badged/uplink"
)

// supportRecords is how many records support gets to see: some days of a laundry.
const supportRecords = 500

// Records are the newest records as they go out, with keyed hashes in place of
// accounts and of UIDs that are plain. Their own hash is of what they were.
func (d door) Records(ctx context.Context) ([]json.RawMessage, error) {
	key, err := d.siteKey()
	if err != nil {
		return nil, fmt.Errorf("site key: %w", err)
	}
	messages, err := d.ledger.Last(ctx, supportRecords)
	if err != nil {
		return nil, err
	}
	hidden := []string{"account"}
	if d.cfg.PlainUID {
		hidden = append(hidden, "uid")
	}
	out := []json.RawMessage{}
	for _, m := range messages {
		if m.Record, err = hide(m.Record, hidden, key); err != nil {
			return nil, fmt.Errorf("record %d: %w", m.Seq, err)
		}
		out = append(out, uplink.EventMessage(m))
	}
	return out, nil
}

func hide(record []byte, members []string, key []byte) ([]byte, error) {
	var r map[string]json.RawMessage
	if err := json.Unmarshal(record, &r); err != nil {
		return nil, err
	}
	for _, name := range members {
		var s string
		if json.Unmarshal(r[name], &s) == nil && s != "" {
			r[name], _ = json.Marshal(keyed(key, s)) // a string always has a JSON form
		}
	}
	return json.Marshal(r)
}
