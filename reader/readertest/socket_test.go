package readertest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"badged/reader/readertest"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// serve puts a chip on a socket until the test ends.
func serve(t testing.TB, c *readertest.Chip) (network, addr string) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/chip")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- readertest.Serve(ctx, l, c) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return "unix", l.Addr().String()
}

func dial(t testing.TB, network, addr string) *readertest.Remote {
	t.Helper()
	r, err := readertest.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestReadsAUIDOverTheSocket(t *testing.T) {
	c := readertest.New(readertest.Opts{Violation: func(s string) { t.Errorf("violation: %s", s) }})
	c.Put(card(t, "classic-1k"))
	r := dial(t, "unix", func() string { _, a := serve(t, c); return a }())
	conn, err := r.Connect(4*physic.MegaHertz, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	b := &bus{t: t, Chip: c, conn: conn}
	b.setUp()
	b.want("REQA", "26", 7, "0400")
	b.want("ANTICOLL", "9320", 0, "9C599B32 6C")
	pin := r.ResetPin()
	for _, l := range []gpio.Level{gpio.Low, gpio.High} {
		if err := pin.Out(l); err != nil {
			t.Fatal(err)
		}
		b.tx("EE 00") // has an answer, so the pin has moved; and time passes
		b.tx("EE 00")
	}
	b.wantReg("TxControlReg after a reset", 0xA8, 0x80)
}

func TestPacketsUnderOneChipSelectTravelAsOneWindow(t *testing.T) {
	c := readertest.New(readertest.Opts{})
	network, addr := serve(t, c)
	conn, _ := dial(t, network, addr).Connect(physic.MegaHertz, spi.Mode0, 8)
	in := make([]byte, 1)
	err := conn.TxPackets([]spi.Packet{
		{W: []byte{0x16}, KeepCS: true}, {W: []byte{0x21}}, {W: []byte{0x96}, KeepCS: true}, {R: in},
	})
	if err != nil || in[0] != 0x21 {
		t.Errorf("got % X, %v, want 21", in, err)
	}
	if got := c.Stats().Windows; got != 2 {
		t.Errorf("got %d windows, want 2", got)
	}
	if err := conn.TxPackets([]spi.Packet{{W: []byte{1}, KeepCS: true}}); err == nil {
		t.Error("got chip select kept low after a transfer, want an error")
	}
}

// Requests are answered as they come: the peer need not finish the next one.
func TestAnswersComeBeforeTheNextRequestIsWhole(t *testing.T) {
	network, addr := serve(t, readertest.New(readertest.Opts{}))
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	nc.Write([]byte{2, 0, 0xEE, 0, 0, 0, 2, 0, 0x88, 0, 2}) // two windows, an empty one, half a length
	got := make([]byte, 4)
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, []byte{0, 0x92, 0, 0x14}) {
		t.Fatalf("got % X, %v, want 00 92 00 14", got, err)
	}
}

func TestManyPeersAtOnce(t *testing.T) {
	network, addr := serve(t, readertest.New(readertest.Opts{}))
	var wg sync.WaitGroup
	for range 8 {
		conn, err := dial(t, network, addr).Connect(physic.MegaHertz, spi.Mode0, 8)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 100 {
				in := make([]byte, 4)
				if err := conn.Tx([]byte{0xEE, 0xEE, 0xEE, 0}, in); err != nil || in[3] != 0x92 {
					t.Errorf("got % X, %v, want 92", in, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRemoteReportsADeadPeer(t *testing.T) {
	here, there := net.Pipe()
	r := readertest.NewRemote(here)
	conn, err := r.Connect(physic.MegaHertz, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	there.Close()
	for range 2 {
		if err := conn.Tx([]byte{0xEE, 0}, make([]byte, 2)); err == nil {
			t.Error("got no error from a dead peer")
		}
	}
	if err := r.ResetPin().Out(gpio.High); err == nil {
		t.Error("got no error from a dead peer's reset pin")
	}
}

func TestServeConnTellsAHalfRequestFromAGoodbye(t *testing.T) {
	for sent, want := range map[string]error{
		"": nil, "\x02\x00\xEE\x00": nil, "\x02": nil, "\x02\x00\xEE": io.ErrUnexpectedEOF, "\xFF\xFF": io.ErrUnexpectedEOF,
	} {
		if sent == "\x02" {
			want = io.ErrUnexpectedEOF
		}
		here, there := net.Pipe()
		go func() {
			there.Write([]byte(sent))
			io.CopyN(io.Discard, there, int64(len(sent)/4*2))
			there.Close()
		}()
		err := readertest.ServeConn(context.Background(), here, readertest.New(readertest.Opts{}))
		if !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("after %q: got %v, want %v", sent, err, want)
		}
	}
}

// FuzzSocket: whatever a peer sends, every whole window gets as many bytes back,
// and the chip serves the next peer.
func FuzzSocket(f *testing.F) {
	f.Add([]byte{2, 0, 0xEE, 0})
	f.Add([]byte{0xFF, 0xFF, 0, 0xFF, 0xFF, 1, 2, 0, 0x02, 0x0F})
	f.Add([]byte("\x03\x00\x02\x0C\x0C\x02\x00\x1A\x87"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := readertest.New(readertest.Opts{})
		c.Put(card(t, "classic-1k"))
		here, there := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- readertest.ServeConn(context.Background(), here, c) }()
		there.SetDeadline(time.Now().Add(time.Minute))
		go there.Write(in)
		if n, err := io.CopyN(io.Discard, there, answerable(in)); err != nil {
			t.Errorf("got %d bytes back and %v, want %d", n, err, answerable(in))
		}
		there.Close()
		<-done
		c.ResetPin().Out(gpio.Low)
		c.Sleep(time.Millisecond)
		c.ResetPin().Out(gpio.High)
		c.Sleep(time.Millisecond)
		connect(t, c).wantReg("VersionReg afterwards", 0xEE, 0x92)
	})
}

// answerable counts the bytes of the whole windows in a stream.
func answerable(in []byte) (n int64) {
	for len(in) >= 2 {
		k := int(binary.LittleEndian.Uint16(in))
		in = in[2:]
		switch {
		case k == 0xFFFF:
			in = in[min(1, len(in)):]
			continue
		case k > len(in):
			return n
		}
		n, in = n+int64(k), in[k:]
	}
	return n
}
