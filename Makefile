# make run   the whole gateway at a desk, no hardware
# make test  every test
# All other targets are for developers and packagers.

VERSION ?= $(shell sh debian/version)
NATS = github.com/nats-io/nats-server/v2@v2.15.2
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
LDFLAGS = -s -w -X main.version=$(VERSION)
# One set for all that is compiled: SQLite takes a minute for each, and tests see what ships.
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -tags=osusergo,netgo,sqlite_omit_load_extension)
# The version says which commit it is; go's own stamp would differ in a copy of the files.
STATIC = -buildvcs=false -ldflags '$(LDFLAGS) -linkmode external -extldflags -static'
CC_amd64 = gcc
CC_arm64 = aarch64-linux-gnu-gcc
CC_armhf = arm-linux-gnueabihf-gcc
CC_armv6 = arm-linux-gnueabi-gcc
GO_amd64 = GOARCH=amd64
GO_arm64 = GOARCH=arm64
GO_armhf = GOARCH=arm GOARM=7
GO_armv6 = GOARCH=arm GOARM=6
PROGRAMS = ./cmd/badged ./cmd/badgectl

export CGO_ENABLED = 1

.PHONY: run test crash brokers build check bench soak fuzz demo amd64 arm64 armhf armv6 deb install clean tools

run: build
	./bin/badgesim

# Many tests wait more than they compute: half as many packages again as there are cores.
test: tools
	go test -race -timeout 15m -p $$(($$(nproc) * 3 / 2)) ./...

# A day of random cards and faults at a reader, and CUTS gateways killed and cut off
# from power in mid-story; a few of these are in make test.
CUTS ?= 300
LIMIT = 20m
crash: tools
	go test -count=1 -run TestSoak ./reader
	go test -count=1 -v -timeout $(LIMIT) -parallel 6 -run TestCrash ./cmd/badgesim -cuts $(CUTS)

# What make test does with Mosquitto and the embedded broker, with two others.
brokers:
	@sh .ci/need go gcc rabbitmq-server
	GOBIN=$(CURDIR)/bin go install $(NATS)
	PATH=$(CURDIR)/bin:$$PATH go test -timeout 10m -count=1 -v -run TestBrokers ./cmd/internal/backend -brokers nats,rabbitmq

build:
	@sh .ci/need go gcc
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build
	./bin/badgesim --demo

tools:
	@sh .ci/need go gcc mosquitto mosquitto_sub openssl jq python3 chronyd

check:
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Two hours of it, and of power cuts of the databases.
soak: CUTS = 10000
soak: LIMIT = 0
soak: crash
	go test -timeout 0 -v -run PowerCuts ./cache -cuts $$(($(CUTS) / 4))

fuzz:
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
		go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-20s} -fuzzminimizetime 100x $$p || exit 1; done; done

# The armv6 build runs on every 32-bit Pi: Debian's armhf libc needs ARMv7, so a
# static build with the soft-float compiler is the one that a Pi 1 or Zero runs.
amd64 arm64 armhf armv6:
	@sh .ci/need $(CC_$@)
	$(GO_$@) CC=$(CC_$@) CGO_ENABLED=1 GOOS=linux go build $(STATIC) -o bin/$@/ $(PROGRAMS)

# The tests of a package as a program for a board: bin/armv6/cache.test.
bin/%.test:
	$(GO_$(*D)) CC=$(CC_$(*D)) CGO_ENABLED=1 GOOS=linux go test -c $(STATIC) -o $@ ./$(*F)

# Debian packages for 64-bit boards, and for every 32-bit one.
deb: arm64 armv6
	sh debian/build arm64 bin/arm64 dist
	sh debian/build armhf bin/armv6 dist

install: build
	install -D -m 755 -t $(DESTDIR)/usr/bin bin/badged bin/badgectl

clean:
	rm -rf bin dist
