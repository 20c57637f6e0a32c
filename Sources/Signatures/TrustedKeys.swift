import Glibc

/// The keys of a directory, `*.pem` and `*.pub`, as they are when they are read.
public struct TrustedKeys: Sendable {
    private static let maximumKeys = 256
    private static let maximumFile = 16 << 10

    /// Sorted by name.
    public private(set) var keys: [TrustedKey] = []
    /// Files that are there and can't be used: their names, and why.
    public private(set) var broken: [String] = []

    public init() {}

    public init(keys: [TrustedKey]) { self.keys = keys.sorted { $0.name < $1.name } }

    /// - Parameter directory: one that does not exist has no keys.
    public init(directory: String) {
        for file in Self.names(in: directory).sorted().prefix(Self.maximumKeys) {
            guard let bytes = Self.read("\(directory)/\(file)") else {
                broken.append("\(file): it can't be read, or is too large")
                continue
            }
            do throws(SignatureError) {
                keys.append(try TrustedKey(name: String(file.dropLast(4)), file: bytes))
            } catch { broken.append("\(file): \(error)") }
        }
    }

    /// What is trusted, in words for who gave something that is not.
    public var description: String {
        let names = keys.map(\.name).joined(separator: ", ")
        return (keys.isEmpty ? "no key is trusted here" : "trusted are \(names)")
            + (broken.isEmpty ? "" : "; not readable: \(broken.joined(separator: ", "))")
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < 4 * maximumKeys, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix("."), name.hasSuffix(".pem") || name.hasSuffix(".pub") { names.append(name) }
        }
        return names
    }

    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: maximumFile + 1)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        return (0...maximumFile).contains(count) ? Array(bytes.prefix(count)) : nil
    }
}
