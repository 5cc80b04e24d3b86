// Java's HttpClient: logs in with a form, opens the chat, says something and hears it; see tests/clients/logins.rs.

import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

public class JavaHttpClient {
    static final Duration PATIENCE = Duration.ofSeconds(60);

    public static void main(String[] order) throws Exception {
        String host = order[0], email = order[1], password = order[2], path = order[3], protocol = order[4], text = order[5];
        // Its default: it offers HTTP/2 by an upgrade of the first request.
        HttpClient client = HttpClient.newBuilder().connectTimeout(PATIENCE).build();
        String form = "email=" + encoded(email) + "&password=" + encoded(password);
        HttpRequest login = HttpRequest.newBuilder(URI.create("http://" + host + "/login"))
            .header("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
            .timeout(PATIENCE)
            .POST(HttpRequest.BodyPublishers.ofString(form))
            .build();
        HttpResponse<String> answer = client.send(login, HttpResponse.BodyHandlers.ofString());
        System.out.println("status " + answer.statusCode());
        var token = Pattern.compile("\"token\":\"([^\"]+)\"").matcher(answer.body());
        if (!token.find()) throw new IllegalStateException("no token: " + answer.body());

        var heard = new LinkedBlockingQueue<String>();
        var closed = new CompletableFuture<Integer>();
        var listener = new WebSocket.Listener() {
            final StringBuilder whole = new StringBuilder();

            public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
                whole.append(part);
                if (last) {
                    heard.add(whole.toString());
                    whole.setLength(0);
                }
                socket.request(1);
                return null;
            }

            public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                closed.complete(code);
                return null;
            }
        };
        WebSocket socket = client.newWebSocketBuilder()
            .connectTimeout(PATIENCE)
            .subprotocols(protocol)
            .buildAsync(URI.create("ws://" + host + path + "?auth=" + token.group(1)), listener)
            .get(60, TimeUnit.SECONDS);
        System.out.println("protocol " + socket.getSubprotocol());
        socket.sendText(text, true).get(60, TimeUnit.SECONDS);
        System.out.println("text " + heard.poll(60, TimeUnit.SECONDS));
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get(60, TimeUnit.SECONDS);
        System.out.println("closed " + closed.get(60, TimeUnit.SECONDS));
    }

    static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }
}
