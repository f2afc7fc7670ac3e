import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.zip.GZIPInputStream;
import org.locationtech.jts.geom.Coordinate;
import org.locationtech.jts.geom.Geometry;
import org.locationtech.jts.geom.GeometryFactory;
import org.locationtech.jts.geom.LinearRing;
import org.locationtech.jts.geom.Polygon;
import org.locationtech.jts.geom.PrecisionModel;
import org.locationtech.jts.precision.GeometryPrecisionReducer;

/**
 * Reads GeoJSON files with the two libraries, and in the steps, in which QuPath 0.6 to 0.8 reads objects: Gson, then JTS
 * in double precision, then a reduction to hundredths, which throws where a polygon is not valid. Prints per file what
 * was read, as a line of JSON; ends with status 1 where QuPath would refuse a file.
 */
public class ReadAsQuPath {
    private static final GeometryFactory DOUBLE = new GeometryFactory();
    private static final PrecisionModel HUNDREDTHS = new PrecisionModel(100.0);

    private final Map<String, Integer> types = new TreeMap<>();
    private final Map<String, Double> sums = new TreeMap<>();
    private int ids;
    private int deepest;
    private double area;

    public static void main(String[] paths) throws Exception {
        for (String name : paths) {
            ReadAsQuPath reader = new ReadAsQuPath();
            Path path = Path.of(name);
            try (InputStream raw = new BufferedInputStream(Files.newInputStream(path));
                    InputStream stream = name.endsWith(".gz") ? new GZIPInputStream(raw) : raw;
                    Reader text = new InputStreamReader(stream, StandardCharsets.UTF_8)) {
                JsonObject whole = new Gson().fromJson(text, JsonObject.class);
                reader.readAll(whole.getAsJsonArray("features"), 1);
            }
            JsonObject found = new JsonObject();
            found.add("types", new Gson().toJsonTree(reader.types));
            found.add("sums", new Gson().toJsonTree(reader.sums));
            found.addProperty("ids", reader.ids);
            found.addProperty("depth", reader.deepest);
            found.addProperty("area", reader.area);
            System.out.println(found);
        }
    }

    private void readAll(JsonArray features, int depth) {
        deepest = features.isEmpty() ? deepest : Math.max(deepest, depth);
        for (JsonElement element : features) {
            JsonObject feature = element.getAsJsonObject();
            if (feature.has("id")) {
                UUID.fromString(feature.get("id").getAsString());
                ids++;
            }
            Geometry read = geometry(feature.getAsJsonObject("geometry"));
            Geometry reduced = GeometryPrecisionReducer.reduce(read, HUNDREDTHS);
            if (reduced.isEmpty() || !reduced.isValid() || Math.abs(reduced.getArea() - read.getArea()) > 1e-6) {
                throw new IllegalStateException("changed by the reduction: " + read);
            }
            JsonObject properties = feature.getAsJsonObject("properties");
            String type = properties.get("objectType").getAsString();
            types.merge(type, 1, Integer::sum);
            if (properties.has("classification")) {
                area += reduced.getArea();
                JsonArray colour = properties.getAsJsonObject("classification").getAsJsonArray("color");
                if (colour.size() != 3) {
                    throw new IllegalStateException("no colour: " + colour);
                }
            }
            if (properties.has("measurements")) {
                for (var entry : properties.getAsJsonObject("measurements").entrySet()) {
                    sums.merge(entry.getKey(), entry.getValue().getAsDouble(), Double::sum);
                }
            }
            if (properties.has("metadata")) {
                for (var entry : properties.getAsJsonObject("metadata").entrySet()) {
                    if (!entry.getValue().getAsJsonPrimitive().isString()) {
                        throw new IllegalStateException("metadata that is no text: " + entry.getKey());
                    }
                }
            }
            if (properties.has("childObjects")) {
                readAll(properties.getAsJsonArray("childObjects"), depth + 1);
            }
        }
    }

    private static Geometry geometry(JsonObject json) {
        JsonArray coordinates = json.getAsJsonArray("coordinates");
        if (json.get("type").getAsString().equals("Polygon")) {
            return polygon(coordinates);
        }
        Polygon[] parts = new Polygon[coordinates.size()];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = polygon(coordinates.get(i).getAsJsonArray());
        }
        return DOUBLE.createMultiPolygon(parts);
    }

    private static Polygon polygon(JsonArray rings) {
        LinearRing[] holes = new LinearRing[rings.size() - 1];
        for (int i = 0; i < holes.length; i++) {
            holes[i] = ring(rings.get(i + 1).getAsJsonArray());
        }
        return DOUBLE.createPolygon(ring(rings.get(0).getAsJsonArray()), holes);
    }

    private static LinearRing ring(JsonArray positions) {
        Coordinate[] corners = new Coordinate[positions.size()];
        for (int i = 0; i < corners.length; i++) {
            JsonArray position = positions.get(i).getAsJsonArray();
            corners[i] = new Coordinate(position.get(0).getAsDouble(), position.get(1).getAsDouble());
        }
        return DOUBLE.createLinearRing(corners);
    }
}
