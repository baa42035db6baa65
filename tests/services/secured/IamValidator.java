import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Decides as MSK does whether a client may connect: its token is a presigned URL of kafka-cluster:Connect, whose signature is
 * computed again with the secret key that belongs to its access key.
 *
 * Options in the listener's JAAS entry: `region`, `keys` (a file of `access-key secret-key` lines, read again each time), `log`
 * (each decision is a line), `lifetime.ms` (of what it grants), `clock.offset.s` (how far this broker's clock is ahead).
 */
public class IamValidator implements AuthenticateCallbackHandler {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
    private Map<String, ?> options;

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        options = entries.get(0).getOptions();
    }

    private String option(String name) {
        return (String) options.get(name);
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback token) {
                validate(token);
            } else if (callback instanceof OAuthBearerExtensionsValidatorCallback extensions) {
                extensions.inputExtensions().map().keySet().forEach(extensions::valid);
            } else {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private void validate(OAuthBearerValidatorCallback callback) {
        String key = "?";
        try {
            String text = new String(Base64.getUrlDecoder().decode(callback.tokenValue()), StandardCharsets.UTF_8);
            URI url = URI.create(text);
            Map<String, String> query = new TreeMap<>();
            for (String pair : url.getRawQuery().split("&")) {
                String[] both = pair.split("=", 2);
                query.put(decode(both[0]), decode(both.length > 1 ? both[1] : ""));
            }
            String[] scope = query.getOrDefault("X-Amz-Credential", "").split("/");
            key = scope[0];
            check(url, query, scope);
            Instant now = Instant.now();
            long end = now.toEpochMilli() + Long.parseLong(option("lifetime.ms"));
            callback.token(new Granted(callback.tokenValue(), key, now.toEpochMilli(), end));
            note("accepted " + key + " " + query.get("User-Agent"));
        } catch (Refused | IllegalArgumentException error) {
            note("refused " + key + ": " + error.getMessage());
            callback.error("invalid_token", null, null);
        }
    }

    private void check(URI url, Map<String, String> query, String[] scope) throws Refused {
        String region = option("region");
        require("https".equals(url.getScheme()), "no https");
        require(url.getHost().startsWith("kafka.") && url.getHost().endsWith(".amazonaws.com"), "host " + url.getHost());
        require(url.getHost().equals("kafka." + region + ".amazonaws.com"), "wrong region, host " + url.getHost());
        require("kafka-cluster:Connect".equals(query.get("Action")), "wrong action");
        require("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "wrong algorithm");
        require("host".equals(query.get("X-Amz-SignedHeaders")), "wrong signed headers");
        require(query.getOrDefault("User-Agent", "").length() > 0, "no user agent");
        require(scope.length == 5 && scope[2].equals(region) && scope[3].equals("kafka-cluster") && scope[4].equals("aws4_request"),
            "wrong scope of the credential");
        Instant signed = Instant.from(TIME.parse(query.getOrDefault("X-Amz-Date", "")));
        require(query.getOrDefault("X-Amz-Date", "").startsWith(scope[1]), "another day in the scope");
        long valid = Long.parseLong(query.getOrDefault("X-Amz-Expires", "0"));
        require(valid > 0 && valid <= 900, "valid for " + valid + " s");
        Instant now = Instant.now().plusSeconds(Long.parseLong(option("clock.offset.s")));
        require(now.isBefore(signed.plusSeconds(valid)), "expired token");
        require(signed.isBefore(now.plus(Duration.ofMinutes(5))), "signed in the future");
        String secret = secret(scope[0]);
        require(secret != null, "unknown access key");
        require(signature(url, query, scope, secret).equals(query.get("X-Amz-Signature")), "wrong signature");
    }

    private String secret(String key) {
        try {
            for (String line : Files.readAllLines(Path.of(option("keys")))) {
                if (line.startsWith(key + " ")) {
                    return line.substring(key.length() + 1).trim();
                }
            }
            return null;
        } catch (java.io.IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** Signature Version 4 of a presigned GET without a body. */
    private static String signature(URI url, Map<String, String> query, String[] scope, String secret) {
        StringBuilder canonical = new StringBuilder();
        for (Map.Entry<String, String> pair : query.entrySet()) {
            // What was added after signing is no part of it.
            if (!Set.of("X-Amz-Signature", "User-Agent").contains(pair.getKey())) {
                canonical.append(canonical.isEmpty() ? "" : "&").append(encode(pair.getKey())).append('=').append(encode(pair.getValue()));
            }
        }
        String path = url.getRawPath().isEmpty() ? "/" : url.getRawPath();
        String request = String.join("\n", "GET", path, canonical, "host:" + url.getHost(), "", "host", hash(""));
        String day = String.join("/", List.of(scope).subList(1, 5));
        String toSign = String.join("\n", "AWS4-HMAC-SHA256", query.get("X-Amz-Date"), day, hash(request));
        byte[] key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (int part = 1; part < 5; part++) {
            key = hmac(key, scope[part]);
        }
        return HexFormat.of().formatHex(hmac(key, toSign));
    }

    private static byte[] hmac(byte[] key, String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (java.security.GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String hash(String text) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (java.security.GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String decode(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static void require(boolean condition, String otherwise) throws Refused {
        if (!condition) {
            throw new Refused(otherwise);
        }
    }

    private synchronized void note(String line) {
        try {
            Files.writeString(Path.of(option("log")), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (java.io.IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void close() {
    }

    private static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    private record Granted(String value, String principalName, long start, long lifetimeMs) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public Long startTimeMs() {
            return start;
        }
    }
}
