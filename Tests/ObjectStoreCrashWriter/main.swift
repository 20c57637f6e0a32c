import Glibc
import Logging
import ObjectStore

// Writes to a store and says on standard output what is durable, until it is killed.
//
//     ObjectStoreCrashWriter DIR ROUND
//
// Lines: `put N` after small objects r<ROUND>/<N>/{a,b} and a sync; `stream N` after a finished streamed object
// r<ROUND>/<N>/s; `delete N` after the number's a is gone for good.

func say(_ line: String) { _ = (line + "\n").withCString { write(1, $0, strlen($0)) } }

func content(_ round: String, _ number: Int, _ name: String, _ size: Int) -> [UInt8] {
    Array("\(round) \(number) \(name) ".utf8) + (0..<size).map { UInt8(truncatingIfNeeded: $0 &+ number) }
}

let arguments = CommandLine.arguments
let (directory, round) = (arguments[1], arguments[2])
var options = FilesystemObjectStore.Options()
// Small segments, so that kills fall into checkpoints too.
options.segmentBytes = 64 << 10
options.reserveBytes = 1 << 20
let store = try FilesystemObjectStore(
    root: directory, options: options, logger: Logger(label: "crash") { _ in SwiftLogNoOpLogHandler() })
say("open")

try await withThrowingTaskGroup(of: Void.self) { group in
    for task in 0..<3 {
        group.addTask {
            var number = task
            while true {
                for name in ["a", "b"] {
                    try await store.put(
                        ObjectKey("r\(round)/\(number)/\(name)"), content(round, number, name, number % 5000),
                        if: .absent)
                }
                try await store.sync()
                say("put \(number)")
                if number.isMultiple(of: 2) {
                    let writer = try await store.writer(for: ObjectKey("r\(round)/\(number)/s"))
                    for part in 0..<4 { try await writer.write(content(round, number, "s\(part)", 3000)) }
                    _ = try await writer.finish()
                    say("stream \(number)")
                } else {
                    try await store.delete(ObjectKey("r\(round)/\(number)/a"), ifVersion: nil)
                    try await store.sync()
                    say("delete \(number)")
                }
                number += 3
            }
        }
    }
    try await group.waitForAll()
}
