import JSON
import Logging
import Runtime
import Synchronization
import TestSupport
import Testing

@testable import Logs

@Suite("Logs", .timeLimit(.minutes(5)))
struct LogTests {
    @Test("Log events keep their level, metadata and order, and text is escaped")
    func handler() throws {
        let lines = LogLines()
        let sink = LogSink(maximum: 1 << 20, write: lines.add)
        var logger = Logger(label: "store") { JSONLogHandler(label: $0, level: .info, sink: sink) }
        logger[metadataKey: "a"] = "1"
        logger.debug("not this")
        logger.warning("quoted \" \\ \n\u{1} é", metadata: ["b": "2", "a": "3"])
        var other = logger
        other.logLevel = .debug
        other.debug("but this")
        sink.flush()
        let values = try lines.lines.map { try JSONValue(parsing: $0) }
        #expect(values.count == 2)
        #expect(values[0]["msg"]?.string == "quoted \" \\ \n\u{1} é")
        #expect(values[0]["level"] == "warning")
        #expect(values[0]["label"] == "store")
        #expect(values[0]["a"] == "3")
        #expect(values[0]["b"] == "2")
        #expect(values[1]["msg"] == "but this")
        #expect(values[1]["a"] == "1")
    }

    @Test("A log that nobody reads keeps a bounded number of lines, and says how many it lost")
    func bounded() throws {
        let lines = LogLines()
        let stuck = Mutex(())
        let sink = LogSink(maximum: 1000) { bytes in
            stuck.withLock { _ in }
            lines.add(bytes)
        }
        stuck.withLock { _ in
            for _ in 0..<100 { sink.append(Array((String(repeating: "x", count: 99) + "\n").utf8)) }
        }
        sink.flush()
        let text = lines.all
        #expect(text.utf8.count < 3000)
        #expect(text.contains("lines were lost"))
    }

    @Test("Lines come out without anybody asking")
    func background() async throws {
        let lines = LogLines()
        let sink = LogSink(maximum: 1000, write: lines.add)
        sink.append(Array("hello\n".utf8))
        #expect(try await eventually { lines.all == "hello\n" })
    }

    @Test(
        "Dates are written as HTTP and RFC 3339 have them",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT", "2000-02-29T12:34:56.000Z"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT", "2100-02-28T23:59:59.000Z"),
        ])
    func dates(seconds: Int64, http: String, log: String) {
        #expect(Timestamp(seconds: seconds).httpDate == http)
        var bytes: [UInt8] = []
        Timestamp.appendMilliseconds(of: seconds * 1_000_000_000, to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == log)
    }
}
