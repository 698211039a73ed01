package gateway

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
)

// A fresh card knows from its provisioning which lists are past.
func TestListBelowTheProvisionedHeadIsRefused(t *testing.T) {
	broker := mqttBroker(t, new(auth.AllowHook), nil)
	h := newHouse(t, broker)
	h.push(broker, "uid\n04A1B2C3\n") // version 1.1
	h.cfg.List.Head = config.Head{Epoch: 1, Version: 2}
	h.start()
	h.eventually("a refusal of 1.1", func(s control.Status) bool { return s.List.Refused > 0 && s.List.Version == 0 })
	h.push(broker, "uid\n04A1B2C3\n04A1B2C4\n") // version 1.2
	h.eventually("list 1.2", func(s control.Status) bool { return s.List.Version == 2 })
}
