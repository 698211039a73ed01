package model_test

import (
	"strings"
	"testing"

	"badged/station/model"
)

func TestParse(t *testing.T) {
	for _, s := range []string{
		"sdm120", "sdm230", "sdm630", "iem3155",
		"input:0x0156:float32:kWh",
		"holding:40:uint32-le:0.1kWh  holding:0:int32-le:0.1W",
	} {
		if _, err := model.Parse(s); err != nil {
			t.Errorf("%s: got %v, want a model", s, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for s, want := range map[string]string{
		"":                                      `want one of ["sdm120"`,
		"sdm":                                   "sdm630",
		"#":                                     "unknown meter",
		"input:1:float32":                       "table:address:form:unit",
		"coil:1:float32:kWh":                    "want input or holding",
		"input:65536:float32:kWh":               "want 0 to 0xFFFF",
		"input:-1:float32:kWh":                  "want 0 to 0xFFFF",
		"input:1:float64:kWh":                   "form",
		"input:1:float32:W":                     "unit",
		"input:1:float32:kWh input:1:int16:kWh": "unit",
		"input:1:float32:0kWh":                  "unit",
		"input:1:float32:1.2.3kWh":              "unit",
		"input:1:float32:12":                    "unit",
		"input:1:float32:kWh input:1:int16:W input:1:int16:W": "3 registers",
	} {
		if _, err := model.Parse(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", s, err, want)
		}
	}
}
