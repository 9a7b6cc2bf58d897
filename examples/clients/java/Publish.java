import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Publishes jobs for Haul in every way that docs/protocol.md knows, with amqp-client.
 *
 * <pre>
 * haul worker --broker amqp://localhost --store redis://localhost --queue mail
 * HAUL_BROKER=amqp://localhost java -cp amqp-client.jar:slf4j-api.jar Publish.java
 * </pre>
 */
public final class Publish {
    private static final String EXCHANGE = env("HAUL_NAMESPACE", "haul") + ".jobs";
    private static final int PERSISTENT = 2;
    private static final long CONFIRM_MS = 30_000;

    private final Channel channel;

    private Publish(Channel channel) {
        this.channel = channel;
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static String body(String name) {
        return "{\"from\": \"java\", \"case\": \"" + name + "\"}";
    }

    /** What every job should have: a task, an id, and a place on the broker's disk. */
    private static BasicProperties.Builder job() {
        return new BasicProperties.Builder()
                .type("haul.echo")
                .messageId(UUID.randomUUID().toString())
                .contentType("application/json")
                .deliveryMode(PERSISTENT);
    }

    /** Returns once the broker has the message. */
    private void publish(String name, String key, BasicProperties properties, String text)
            throws Exception {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        channel.basicPublish(EXCHANGE, key, true, properties, bytes);
        channel.waitForConfirmsOrDie(CONFIRM_MS);
        String id = properties.getMessageId();
        System.out.println(name + " " + (id == null ? "-" : id));
    }

    private void publish(String name, BasicProperties.Builder job) throws Exception {
        publish(name, "mail", job.build(), body(name));
    }

    /** The least: a task and its arguments. The worker gives the job an id. */
    private void minimal() throws Exception {
        publish("minimal", new BasicProperties.Builder().type("haul.echo"));
    }

    private void allHeaders() throws Exception {
        Map<String, Object> headers = Map.of(
                "max_attempts", 3,
                "backoff", "list(1s,10s,5m)",
                "timeout_ms", 30000,
                "deadline", "2099-01-01T00:00:00Z",
                "retention_s", 3600,
                "tags", "eu,big",
                // Not before; long past, so at once.
                "run_at", "2024-01-31T10:00:00+01:00",
                "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                // Unknown to Haul: kept with the job.
                "tenant", "Gr\u00f6\u00dfe \ud83d\ude9a");
        publish("all-headers", job().correlationId("batch-java").headers(headers));
    }

    /** Needs no clock: the worker counts from when it gets the message. */
    private void delayed() throws Exception {
        publish("delayed", job().headers(Map.of("delay_ms", 1000)));
    }

    /** The lane is the second word of the routing key: critical, high, normal or low. */
    private void urgent() throws Exception {
        publish("urgent", "mail.critical", job().build(), body("urgent"));
    }

    /** The result comes to the queue that replyTo names, with the job's id. */
    private void ask() throws Exception {
        String queue = channel.queueDeclare().getQueue();
        BasicProperties properties = job().replyTo(queue).build();
        CompletableFuture<String> answer = new CompletableFuture<>();
        channel.basicConsume(queue, true, (tag, delivery) -> {
            if (properties.getMessageId().equals(delivery.getProperties().getCorrelationId())) {
                Object state = delivery.getProperties().getHeaders().get("state");
                String result = new String(delivery.getBody(), StandardCharsets.UTF_8);
                answer.complete(state + " " + result);
            }
        }, tag -> { });
        publish("ask", "mail", properties, body("ask"));
        System.out.println("answer " + answer.get(30, TimeUnit.SECONDS));
    }

    /** None of these is lost: each is kept as a dead job that says what is wrong. */
    private void wrong() throws Exception {
        publish("no-task", job().type(null));
        publish("bad-task", job().type("Haul Echo"));
        publish("bad-id", job().messageId("not/an/id"));
        publish("not-json", "mail", job().build(), "case=not-json");
        publish("too-large", "mail", job().build(), "\"" + "x".repeat(300_000) + "\"");
        publish("bad-number", job().headers(Map.of("timeout_ms", "30s")));
        publish("bad-time", job().headers(Map.of("run_at", "tomorrow")));
        publish("bad-header", job().headers(Map.of("tags", List.of("eu", "big"))));
        publish("unknown-task", job().type("nobody.knows"));
        publish("no-queue", "images", job().build(), body("no-queue"));
        BasicProperties taken = job().build();
        publish("taken", "mail", taken, body("taken"));
        publish("taken-id", "mail", taken, body("taken-id")); // another job with the same id
    }

    public static void main(String[] args) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(env("HAUL_BROKER", "amqp://localhost"));
        try (Connection connection = factory.newConnection()) {
            Channel channel = connection.createChannel();
            channel.confirmSelect();
            Publish examples = new Publish(channel);
            examples.minimal();
            examples.allHeaders();
            examples.delayed();
            examples.urgent();
            examples.ask();
            examples.wrong();
        }
    }
}
