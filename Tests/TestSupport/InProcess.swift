import Foundation
import Synchronization

/// `Authorization` for a user and password.
package func basic(_ user: String, _ password: String = "secret") -> String {
    "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
}

/// A number that several tasks count up.
package final class Count: Sendable {
    private let count = Atomic(0)

    package init() {}

    package var value: Int { count.load(ordering: .relaxed) }
    package func add(_ more: Int) { count.wrappingAdd(more, ordering: .relaxed) }
}

/// What was logged.
package final class LogLines: Sendable {
    private let text = Mutex("")

    package init() {}

    package func add(_ bytes: [UInt8]) { text.withLock { $0 += String(decoding: bytes, as: UTF8.self) } }

    package var lines: [String] { text.withLock { $0.split(separator: "\n").map(String.init) } }
    package var all: String { text.withLock { $0 } }
}

/// A directory that goes with the test.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init() throws {
        path = NSTemporaryDirectory() + "/cistern-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Makes a file of bytes that repeat only after a prime number of them, so that no two places of it look alike.
    package func file(_ name: String, bytes: Int) throws -> (path: String, content: [UInt8]) {
        let block = (0..<65_537).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7 ^ $0) }
        var content: [UInt8] = []
        content.reserveCapacity(bytes + block.count)
        while content.count < bytes { content.append(contentsOf: block) }
        content.removeLast(content.count - bytes)
        let path = path + "/" + name
        try Data(content).write(to: URL(fileURLWithPath: path))
        return (path, content)
    }
}

/// Waits until something is so; a minute at most.
package func eventually(_ condition: @Sendable () async throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return false
}
