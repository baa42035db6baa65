"""Spark with Delta Lake, driven by lines on standard input: one JSON object `{"sql": …}` or `{"json": GLOB}` (the schema is inferred)
a line, answered by one line `{"columns": [[name, type], …], "rows": […]}` or `{"error": …}`."""
import datetime, decimal, glob, json, os, sys, tempfile

from pyspark.sql import Row, SparkSession

jars = sys.argv[1]
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Whatever Spark prints is no answer.

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars", ",".join(sorted(glob.glob(f"{jars}/*.jar"))))
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.memory", "1g")
    .config("spark.sql.warehouse.dir", tempfile.gettempdir())
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.databricks.delta.snapshotPartitions", "1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def plain(value):
    match value:
        case datetime.datetime():
            return value.isoformat(timespec="microseconds")
        case datetime.date():
            return value.isoformat()
        case decimal.Decimal():
            return str(value)
        case bytes() | bytearray():
            return bytes(value).hex()
        case Row():
            return {key: plain(item) for key, item in value.asDict().items()}
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def answer(request):
    frame = spark.read.json(request["json"]) if "json" in request else spark.sql(request["sql"])
    return {
        "columns": [[field.name, field.dataType.simpleString()] for field in frame.schema.fields],
        "rows": [plain(row) for row in frame.collect()],
    }


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as error:
        result = {"error": str(error)}
    print(json.dumps(result), file=answers, flush=True)

# Nothing of it is left when this ends.
gateway = spark.sparkContext._gateway
spark.stop()
gateway.shutdown()
gateway.proc.stdin.close()
gateway.proc.wait()
