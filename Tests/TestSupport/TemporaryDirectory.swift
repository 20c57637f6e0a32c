import Foundation

/// Gives a new directory to the body and removes it afterwards, with what is mounted in it.
/// - Returns: what the body returns.
public func withTemporaryDirectory<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let directory = try makeTemporaryDirectory()
    do {
        let value = try await body(directory)
        try removeTree(directory)
        return value
    } catch {
        // The body's error is the one to report.
        try? removeTree(directory)
        throw error
    }
}

func makeTemporaryDirectory() throws -> String {
    let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    var template = Array("\(parent)/cistern-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CommandError.notStarted("mkdtemp in \(parent)", errno) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Removes a directory. What is mounted in it is detached first, so that nothing is deleted through a mount.
public func removeTree(_ directory: String) throws {
    for mount in try mounts(below: directory).reversed() {
        guard umount2(mount, Int32(MNT_DETACH)) == 0 else {
            throw CommandError.notStarted("umount \(mount)", errno)
        }
    }
    guard try mounts(below: directory).isEmpty else {
        throw CommandError.notStarted("umount below \(directory)", EBUSY)
    }
    try FileManager.default.removeItem(atPath: directory)
}

/// The mount points below a directory, in the order in which they were mounted.
func mounts(below directory: String) throws -> [String] {
    let table = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
    return table.split(separator: "\n").compactMap { (line) -> String? in
        let fields = line.split(separator: " ")
        guard fields.count > 4 else { return nil }
        // proc(5): white space and backslashes are written in octal.
        let point = String(fields[4]).replacing("\\040", with: " ").replacing("\\011", with: "\t").replacing(
            "\\134", with: "\\")
        return point.hasPrefix(directory + "/") ? point : nil
    }
}
