package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// ErrNobody says that no gateway runs at the socket.
var ErrNobody = errors.New("nothing listens")

// Client calls a socket that Serve opened. It is safe for concurrent use.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client of the socket at path; it connects at each call.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Get reads the JSON answer of endpoint ("/v1/status") into out.
func (c *Client) Get(ctx context.Context, endpoint string, out any) error {
	return c.call(ctx, http.MethodGet, endpoint, nil, out)
}

// Post sends in as JSON, or nothing where it is nil, and reads the answer into
// out unless that is nil. The error of the other side comes back as its text.
func (c *Client) Post(ctx context.Context, endpoint string, in, out any) error {
	return c.call(ctx, http.MethodPost, endpoint, in, out)
}

// Watch subscribes to the gateway's events, calls ready once nothing can be
// missed any more (it may be nil), and then f for each event. It returns nil
// when ctx ends, f's error, or an error when the gateway ends the stream.
func (c *Client) Watch(ctx context.Context, ready func(), f func(Event) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/watch", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if ready != nil {
		ready()
	}
	for d := json.NewDecoder(body); ; {
		var e Event
		if err := d.Decode(&e); err != nil {
			return c.ended(ctx, err)
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

func (c *Client) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watch %s: the gateway ended the stream, it stopped or we read too slowly: %w", c.path, err)
}

func (c *Client) call(ctx context.Context, method, endpoint string, in, out any) error {
	body, err := c.do(ctx, method, endpoint, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read answer of %s: %w", endpoint, err)
	}
	return nil
}

// do returns the body of a good answer; a bad one becomes an error.
func (c *Client) do(ctx context.Context, method, endpoint string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write request %s: %w", endpoint, err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://badged"+endpoint, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(endpoint, resp)
	}
	return resp.Body, nil
}

func (c *Client) explain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // the rest is the call and the path, and people know these
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s: is badged running? Try: systemctl status badged; "+
			"at a desk start badgesim; another place: --socket PATH (%w)", ErrNobody, c.path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to open %s: run this as root or as a member of the group that owns it (%w)", c.path, err)
	}
	return fmt.Errorf("call %s: %w", c.path, err)
}

// refusal is the other side's own words where it gave some: a plain HTTP
// answer means that it does not know the endpoint at all.
func refusal(endpoint string, resp *http.Response) error {
	var p problem
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if json.Unmarshal(b, &p) == nil && p.Error != "" {
		return errors.New(p.Error)
	}
	return fmt.Errorf("%s answered %s: %s", endpoint, resp.Status, strings.TrimSpace(string(b)))
}
