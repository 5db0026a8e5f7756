import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import javax.net.ssl.HttpsURLConnection;

/** Fetches an address by the older or the newer of Java's own clients, and prints what it got. */
public class Fetch {
    public static void main(String[] arguments) throws Exception {
        System.out.print(arguments[0].equals("older") ? older(arguments[1]) : newer(arguments[1]));
    }

    private static String older(String address) throws Exception {
        var connection = (HttpsURLConnection) new URL(address).openConnection();
        return new String(connection.getInputStream().readAllBytes());
    }

    private static String newer(String address) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(address)).build();
        return HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
    }
}
