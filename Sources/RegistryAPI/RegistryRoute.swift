import OCI

/// What a path below `/v2/` asks for (OCI distribution specification, "Endpoints").
enum RegistryRoute: Hashable {
    /// end-1
    case ping
    /// end-3, and end-4, end-7, end-9 by other methods
    case manifest(RepositoryName, Reference)
    /// end-2, and end-10 by DELETE
    case blob(RepositoryName, Digest)
    /// end-8a, end-8b
    case tags(RepositoryName)

    /// - Parameter path: percent-encoded, without the query, beginning with `/v2`.
    /// - Throws: `RegistryFailure` with the code of what is malformed; `.unsupported` for what is no endpoint.
    init(path: some StringProtocol) throws(RegistryFailure) {
        let decoded = try percentDecoded(path)
        var parts = decoded.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2)
        if parts.isEmpty || parts.elementsEqual([""]) {
            self = .ping
            return
        }
        guard parts.count >= 3 else { throw .unknownEndpoint }
        let last = parts.removeLast()
        let kind = parts.removeLast()
        switch kind {
        case "manifests":
            self = .manifest(try Self.name(parts), try Self.reference(last))
        case "blobs":
            self = .blob(try Self.name(parts), try Self.digest(last))
        case "tags" where last == "list":
            self = .tags(try Self.name(parts))
        default: throw .unknownEndpoint
        }
    }

    private static func name(_ parts: ArraySlice<Substring>) throws(RegistryFailure) -> RepositoryName {
        let text = parts.joined(separator: "/")
        do { return try RepositoryName(parsing: text) } catch { throw .nameInvalid(text) }
    }

    private static func reference(_ text: Substring) throws(RegistryFailure) -> Reference {
        do { return try Reference(parsing: text) } catch .digest { throw .digestInvalid(String(text)) } catch {
            throw .tagInvalid(String(text))
        }
    }

    private static func digest(_ text: Substring) throws(RegistryFailure) -> Digest {
        do { return try Digest(parsing: text) } catch { throw .digestInvalid(String(text)) }
    }
}

/// A path with its percent-escapes resolved. Escapes can't smuggle anything in: what results is held against the
/// specification's grammar, not used as a path.
private func percentDecoded(_ path: some StringProtocol) throws(RegistryFailure) -> String {
    guard path.utf8.contains(UInt8(ascii: "%")) else { return String(path) }
    var bytes: [UInt8] = []
    var rest = Array(path.utf8)[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "%") else {
            bytes.append(byte)
            continue
        }
        guard let high = rest.popFirst().flatMap(hexadecimalDigit), let low = rest.popFirst().flatMap(hexadecimalDigit)
        else { throw .nameInvalid(String(path)) }
        bytes.append(high << 4 | low)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .nameInvalid(String(path)) }
    return text
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) }
}
