package uplink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxCommand  = 4 << 10
	commandType = "badged-command"
)

// Command is an order to one gateway. It counts on the connection whose nonce it
// names, and once.
type Command struct {
	ID        string          `json:"id"` // 1 to 64 of a-z, 0-9 and -, never given twice
	Gateway   string          `json:"gateway"`
	Nonce     string          `json:"nonce"`     // of the gateway's status
	ExpiresAt time.Time       `json:"expiresAt"` // counts where the gateway's clock is synchronised
	Command   string          `json:"command"`
	Args      json.RawMessage `json:"args,omitempty"` // an object
}

// Reply is the answer to a command, published on the topic of replies.
type Reply struct {
	// ID is the command's; it is missing where nobody that may command signed it.
	ID string `json:"id,omitempty"`
	// Message is the SHA-256 of the command as it came, in hex: by it every sender
	// finds the answer.
	Message string `json:"message"`
	OK      bool   `json:"ok"`
	Status  string `json:"status,omitempty"` // of a decision: an AuthorizationStatus
	Reason  string `json:"reason,omitempty"` // why not: of a decision, or one of those below
	Error   string `json:"error,omitempty"`  // why not, in words
	Result  any    `json:"result,omitempty"` // what the command gives
}

// The reasons for which a command is not carried out, whatever it orders.
const (
	refusedNoKeys    = "NoCommandKeys" // this gateway takes no commands
	refusedSignature = "WrongSignature"
	refusedGateway   = "OtherGateway"
	refusedRetained  = "Retained" // the broker kept it, for whom?
	refusedNonce     = "OtherConnection"
	refusedExpired   = "Expired"
	refusedAgain     = "Repeated" // the id was given before
	refusedStorage   = "NotNoted" // the id could not be written down
	refusedArgs      = "WrongCommand"
)

// Commands is how a Client takes commands. Without keys it takes none, and says so.
type Commands struct {
	Keys jose.JSONWebKeySet // who may command, until a root says otherwise
	// Spend notes the id of a command durably and tells whether it is the first time.
	Spend func(ctx context.Context, id string) (first bool, err error)
	// Clock tells the time, and whether it can be trusted.
	Clock func() (now time.Time, synced bool)
	// Handle carries a command out. It is called in the order of the commands and must
	// not block; answer may be called from any goroutine, once. ctx ends with the
	// connection, and an answer after that is lost.
	Handle func(ctx context.Context, c Command, answer func(Reply))
}

// SignCommand makes the message for the topic of commands: a compact JWS (RFC 7515)
// by an Ed25519 key that has a key id.
func SignCommand(c Command, key jose.JSONWebKey) ([]byte, error) {
	b, err := sign(c, commandType, key)
	if err == nil && len(b) > maxCommand {
		err = fmt.Errorf("command of %d bytes, at most %d are allowed", len(b), maxCommand)
	}
	if err != nil {
		return nil, fmt.Errorf("sign command: %w", err)
	}
	return b, nil
}

// MessageID is what Reply.Message says of a command.
func MessageID(message []byte) string {
	sum := sha256.Sum256(message)
	return hex.EncodeToString(sum[:])
}

// refusal is why a command is not carried out.
type refusal struct{ reason, text string }

func (r *refusal) Error() string { return r.text }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// parseCommand checks who signed a message and that it is a command. The gateway
// must have keys.
func parseCommand(message []byte, keys jose.JSONWebKeySet) (Command, error) {
	var c Command
	if len(keys.Keys) == 0 {
		return c, refuse(refusedNoKeys, "this gateway has no command keys (commands.keys in its config)")
	}
	b, err := verify(message, maxCommand, commandType, keys)
	if err != nil {
		return c, refuse(refusedSignature, "%v", err)
	}
	if err := unmarshal(b, &c); err != nil {
		return Command{}, refuse(refusedArgs, "command: %v", err)
	}
	if err := CheckID(c.ID); err != nil {
		return Command{}, refuse(refusedArgs, "command: %v", err)
	}
	if err := require(b, "id", "gateway", "nonce", "expiresAt", "command"); err != nil {
		return c, refuse(refusedArgs, "command: %v", err)
	}
	return c, nil
}

// judge tells whether a command is to be carried out here and now. The last
// check notes the id: what passes it once never does again.
func (c *Client) judge(ctx context.Context, m Incoming) (Command, error) {
	cmd, err := parseCommand(m.Payload, c.keys.commanders())
	if err != nil {
		return cmd, err
	}
	now, synced := c.o.Commands.Clock()
	switch {
	case m.Retained:
		return cmd, refuse(refusedRetained, "the broker kept the command: send it without the retain flag")
	case cmd.Gateway != c.o.Gateway:
		return cmd, refuse(refusedGateway, "is for the gateway %.64q", cmd.Gateway)
	case cmd.Nonce == "" || cmd.Nonce != c.State().Nonce:
		return cmd, refuse(refusedNonce, "names another connection's nonce: read the status again")
	case synced && !now.Before(cmd.ExpiresAt):
		return cmd, refuse(refusedExpired, "expired at %s", cmd.ExpiresAt.Format(time.RFC3339))
	}
	switch first, err := c.o.Commands.Spend(ctx, cmd.ID); {
	case err != nil:
		return cmd, refuse(refusedStorage, "note command: %v", err)
	case !first:
		return cmd, refuse(refusedAgain, "the id was given before")
	}
	return cmd, nil
}

// obey takes commands in their order and sees to every one being answered.
func (c *Client) obey(ctx context.Context, conn *Conn, commands <-chan Incoming) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-commands:
			c.busy.do("commands", func() error {
				c.command(ctx, conn, m)
				return nil
			})
			m.Ack()
		}
	}
}

func (c *Client) command(ctx context.Context, conn *Conn, m Incoming) {
	if len(m.Payload) == 0 {
		return // a retained one was cleared
	}
	cmd, err := c.judge(ctx, m)
	answer := func(r Reply) {
		r.ID, r.Message = cmd.ID, MessageID(m.Payload)
		c.reply(ctx, conn, r)
	}
	var no *refusal
	if errors.As(err, &no) {
		c.o.Log.Warn("command refused", "id", cmd.ID, "command", cmd.Command, "reason", no.reason, "err", no.text)
		answer(Reply{Reason: no.reason, Error: no.text})
		return
	}
	c.o.Log.Info("command came", "id", cmd.ID, "command", cmd.Command)
	c.o.Commands.Handle(ctx, cmd, answer)
}

// reply publishes an answer. A connection that fails at it ends by itself.
func (c *Client) reply(ctx context.Context, conn *Conn, r Reply) {
	b, err := json.Marshal(r)
	if err == nil {
		err = conn.Publish(ctx, c.topics.Replies(), false, b)
	}
	if err != nil {
		c.o.Log.Warn("reply lost", "id", r.ID, "err", err)
	}
}
