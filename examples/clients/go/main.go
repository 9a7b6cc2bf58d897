// Publishes jobs for Haul in every way that docs/protocol.md knows, with amqp091-go.
//
//	haul worker --broker amqp://localhost --store redis://localhost --queue mail
//	go mod tidy && HAUL_BROKER=amqp://localhost go run .
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var exchange = env("HAUL_NAMESPACE", "haul") + ".jobs"

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func newID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("%x", id)
}

func body(name string) []byte {
	text, err := json.Marshal(map[string]string{"from": "go", "case": name})
	if err != nil {
		log.Fatal(err)
	}
	return text
}

// job has what every job should have: a task, an id, and a place on the broker's disk.
func job(name string) amqp.Publishing {
	return amqp.Publishing{
		Type:         "haul.echo",
		MessageId:    newID(),
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		Body:         body(name),
	}
}

// publish returns once the broker has the message.
func publish(channel *amqp.Channel, name, key string, message amqp.Publishing) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	confirm, err := channel.PublishWithDeferredConfirmWithContext(
		ctx, exchange, key, true, false, message)
	if err != nil {
		log.Fatal(err)
	}
	if !confirm.Wait() {
		log.Fatal(errors.New("the broker refused " + name))
	}
	id := message.MessageId
	if id == "" {
		id = "-"
	}
	fmt.Println(name, id)
}

// minimal is the least: a task and its arguments. The worker gives the job an id.
func minimal(channel *amqp.Channel) {
	publish(channel, "minimal", "mail", amqp.Publishing{Type: "haul.echo", Body: body("minimal")})
}

func allHeaders(channel *amqp.Channel) {
	message := job("all-headers")
	message.CorrelationId = "batch-go"
	message.Headers = amqp.Table{
		"max_attempts": 3,
		"backoff":      "list(1s,10s,5m)",
		"timeout_ms":   30000,
		"deadline":     "2099-01-01T00:00:00Z",
		"retention_s":  3600,
		"tags":         "eu,big",
		"run_at":       "2024-01-31T10:00:00+01:00", // not before; long past, so at once
		"traceparent":  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"tenant":       "Größe 🚚", // unknown to Haul: kept with the job
	}
	publish(channel, "all-headers", "mail", message)
}

// delayed needs no clock: the worker counts from when it gets the message.
func delayed(channel *amqp.Channel) {
	message := job("delayed")
	message.Headers = amqp.Table{"delay_ms": 1000}
	publish(channel, "delayed", "mail", message)
}

// urgent: the lane is the second word of the routing key: critical, high, normal or low.
func urgent(channel *amqp.Channel) {
	publish(channel, "urgent", "mail.critical", job("urgent"))
}

// ask gets the result in the queue that ReplyTo names, with the job's id.
func ask(channel *amqp.Channel) {
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	answers, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	message := job("ask")
	message.ReplyTo = queue.Name
	publish(channel, "ask", "mail", message)
	timeout := time.After(30 * time.Second)
	for {
		select {
		case answer := <-answers:
			if answer.CorrelationId == message.MessageId {
				fmt.Println("answer", answer.Headers["state"], string(answer.Body))
				return
			}
		case <-timeout:
			log.Fatal("no answer came within 30 s")
		}
	}
}

// wrong: none of these is lost: each is kept as a dead job that says what is wrong.
func wrong(channel *amqp.Channel) {
	bad := func(name, key string, change func(*amqp.Publishing)) {
		message := job(name)
		change(&message)
		publish(channel, name, key, message)
	}
	header := func(name string, value interface{}) func(*amqp.Publishing) {
		return func(m *amqp.Publishing) { m.Headers = amqp.Table{name: value} }
	}
	large := []byte(`"` + strings.Repeat("x", 300_000) + `"`)
	bad("no-task", "mail", func(m *amqp.Publishing) { m.Type = "" })
	bad("bad-task", "mail", func(m *amqp.Publishing) { m.Type = "Haul Echo" })
	bad("bad-id", "mail", func(m *amqp.Publishing) { m.MessageId = "not/an/id" })
	bad("not-json", "mail", func(m *amqp.Publishing) { m.Body = []byte("case=not-json") })
	bad("too-large", "mail", func(m *amqp.Publishing) { m.Body = large })
	bad("bad-number", "mail", header("timeout_ms", "30s"))
	bad("bad-time", "mail", header("run_at", "tomorrow"))
	bad("bad-header", "mail", header("tags", []interface{}{"eu", "big"}))
	bad("unknown-task", "mail", func(m *amqp.Publishing) { m.Type = "nobody.knows" })
	bad("no-queue", "images", func(*amqp.Publishing) {})
	taken := job("taken")
	publish(channel, "taken", "mail", taken)
	taken.Body = body("taken-id") // another job with the same id
	publish(channel, "taken-id", "mail", taken)
}

func main() {
	connection, err := amqp.Dial(env("HAUL_BROKER", "amqp://localhost"))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		log.Fatal(err)
	}
	if err := channel.Confirm(false); err != nil {
		log.Fatal(err)
	}
	for _, example := range []func(*amqp.Channel){
		minimal, allHeaders, delayed, urgent, ask, wrong,
	} {
		example(channel)
	}
}
