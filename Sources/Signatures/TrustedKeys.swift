import Glibc
import OCI
import Runtime

/// The public keys in a directory's files `*.pem` and `*.pub` (the first 256 by name), as they were when read.
public struct TrustedKeys: Sendable {
    private static let maximumKeys = 256
    private static let maximumFile = 16 << 10

    /// Sorted by name; where they come from a directory, by file name.
    public private(set) var keys: [TrustedKey] = []
    /// The files that can't be used, as `FILE: REASON`.
    public private(set) var broken: [String] = []

    public init() {}

    public init(keys: [TrustedKey]) { self.keys = keys.sorted { $0.name < $1.name } }

    /// - Parameter directory: the directory's path; if there is no such directory, there are no keys.
    public init(directory: String) {
        for file in Self.names(in: directory).sorted().prefix(Self.maximumKeys) {
            do throws(SmallFile.Failure) {
                let bytes = try SmallFile.read("\(directory)/\(file)", maximum: Self.maximumFile)
                do throws(SignatureError) {
                    keys.append(try TrustedKey(name: String(file.dropLast(4)), file: bytes))
                } catch { broken.append("\(file): \(error)") }
            } catch { broken.append("\(file): \(error.reason)") }
        }
    }

    /// The names of the trusted keys, in words for a person whose signature is not by any of them.
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
}

/// A trusted Ed25519 public key.
public struct TrustedKey: Sendable, Hashable {
    /// The name of the key's file, without its ending.
    public let name: String
    let bytes: [UInt8]
    /// The eight bytes by which minisign names its keys; nil for others.
    let minisignID: [UInt8]?

    /// Reads a PEM file as `openssl pkey -pubout` writes it (RFC 8410), or a minisign public key.
    /// - Throws: `.unreadable`.
    public init(name: String, file: [UInt8]) throws(SignatureError) {
        self.name = name
        let lines = String(decoding: file, as: UTF8.self).split(whereSeparator: \.isNewline).map {
            String($0.filter { $0 != " " && $0 != "\t" })
        }
        if let start = lines.firstIndex(of: "-----BEGINPUBLICKEY-----") {
            let text = lines[(start + 1)...].prefix { !$0.hasPrefix("-----") }.joined()
            guard let der = Base64.decode(text), der.starts(with: Self.prefix),
                der.count == Self.prefix.count + Ed25519.keyLength
            else { throw .unreadable("not an Ed25519 public key (`openssl pkey -in KEY -pubout`)") }
            bytes = Array(der.dropFirst(Self.prefix.count))
            minisignID = nil
        } else {
            // The comment's line may be missing: minisign takes a key without it, too.
            guard let line = lines.last, let key = Base64.decode(line), key.count == 2 + 8 + Ed25519.keyLength,
                key.starts(with: Array("Ed".utf8))
            else { throw .unreadable("neither a PEM public key nor one of minisign's") }
            minisignID = Array(key[2..<10])
            bytes = Array(key[10...])
        }
    }

    /// SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410, section 4).
    private static let prefix: [UInt8] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]
}

/// Why a key or a signature can't be used, in words for the person who gave it.
public enum SignatureError: Error, Hashable, Sendable {
    /// The bytes have none of the known forms.
    case unreadable(String)
    /// The key could not sign.
    case signing(String)
    /// The signature is not by any trusted key, or is of other bytes.
    case untrusted(String)
}

extension SignatureError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unreadable(let reason), .signing(let reason), .untrusted(let reason): reason
        }
    }
}
