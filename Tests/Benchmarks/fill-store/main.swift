import Foundation
import JSON
import Logging
import OCI
import ObjectStore

// Fills a server's store, while the server is down, with droplets like one that is there: for each an app of its own
// with a record, a conversion, and the records of two blobs, all under digests of their own; or with droplets of one app.
// Or with repositories, whose blobs are a few bytes each and nine tenths of which a manifest names; or with the other
// tenth again.
//
//     fill-store STORE MODEL_GUID COUNT [APP_GUID]
//     fill-store repositories|garbage STORE BLOBS REPOSITORIES

let arguments = CommandLine.arguments
if arguments.count == 5, ["repositories", "garbage"].contains(arguments[1]), let blobs = Int(arguments[3]),
    let names = Int(arguments[4]), names > 0, blobs >= names * 4
{
    try await fillRepositories(
        arguments[2], blobs: blobs, repositories: names, onlyGarbage: arguments[1] == "garbage")
    exit(0)
}
guard (4...5).contains(arguments.count), let count = Int(arguments[3]), count > 0 else {
    FileHandle.standardError.write(Data("usage: fill-store STORE MODEL_GUID COUNT [APP_GUID]\n".utf8))
    exit(2)
}

func complain(_ problem: String) -> Never {
    FileHandle.standardError.write(Data("fill-store: \(problem)\n".utf8))
    exit(1)
}

let store = try FilesystemObjectStore(
    root: arguments[1], logger: Logger(label: "fill-store") { StreamLogHandler.standardError(label: $0) })

func text(of prefix: String) async throws -> (name: String, text: String) {
    guard let info = try await store.list(prefix: prefix, startAfter: nil, limit: 1).first else {
        complain("there is nothing below \(prefix)")
    }
    let object = try await store.get(info.key)
    return (String(info.key.text.dropFirst(prefix.count)), String(decoding: object.bytes, as: UTF8.self))
}

let record = try await text(of: "bits/droplets/records/\(arguments[2])/")
let hex = record.name
let conversion = try await text(of: "bits/droplets/conversions/\(hex)/")
guard let json = try? JSONValue(parsing: Array(record.text.utf8)),
    let layer = json["layers"]?.array?.last?["digest"]?.string?.dropFirst("sha256:".count),
    let sha1 = json["sha1"]?.string
else { complain("the record of \(arguments[2]) is not understood") }
let originalBlob = try await text(of: "blobs/sha256/\(hex.prefix(2))/\(hex)").text
let layerBlob = try await text(of: "blobs/sha256/\(layer.prefix(2))/\(layer)").text

let app = arguments.count == 5 ? arguments[4] : nil
/// How many droplets are written at the same time.
let width = 16

@Sendable func put(_ key: String, _ text: String) async throws {
    try await store.put(try ObjectKey(key), Array(text.utf8), if: .always)
}

@Sendable func fill(_ number: Int) async throws {
    let name = app.map { "\($0) \(number)" } ?? "\(number)"
    let newHex = Digest.of(Array("droplet \(name)".utf8)).hex
    let newLayer = Digest.of(Array("layer \(name)".utf8)).hex
    func changed(_ text: String) -> String {
        text.replacing(hex, with: newHex).replacing(layer, with: newLayer).replacing(sha1, with: newHex.prefix(40))
    }
    try await put("bits/droplets/records/\(app ?? String(newHex.prefix(32)))/\(newHex)", changed(record.text))
    try await put("bits/droplets/conversions/\(newHex)/\(conversion.name)", changed(conversion.text))
    try await put("blobs/sha256/\(newHex.prefix(2))/\(newHex)", originalBlob)
    try await put("blobs/sha256/\(newLayer.prefix(2))/\(newLayer)", layerBlob)
}

try await withThrowingTaskGroup(of: Void.self) { group in
    for first in 1...width {
        group.addTask { for number in stride(from: first, through: count, by: width) { try await fill(number) } }
    }
    try await group.waitForAll()
}
try await store.close()
print("\(count) droplets")
