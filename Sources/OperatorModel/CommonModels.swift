package import JSON
package import OCI

/// A time in UTC, written as in RFC 3339.
package struct Time: Leaf, CustomStringConvertible {
    package let description: String

    package init(_ rfc3339: String) { description = rfc3339 }
    package init(json: JSONValue) throws { description = try String(json: json) }
    package var json: JSONValue { .string(description) }
    package static var schema: Schema { Schema(["type": "string", "format": "date-time"]) }
    package static var sample: Time { Time("1970-01-01T00:00:00Z") }
}

extension Digest: Leaf {
    package init(json: JSONValue) throws {
        guard let digest = json.string.flatMap({ try? Digest(parsing: $0) }) else { throw ModelError("is no digest") }
        self = digest
    }
    package var json: JSONValue { .string(description) }
    package static var schema: Schema { Schema(["type": "string", "pattern": "^sha(256|512):[0-9a-f]+$"]) }
    package static var sample: Digest { get throws { try Digest(.sha256, hex: String(repeating: "0", count: 64)) } }
}

package enum ArchitectureName: String, Words {
    case amd64, arm64
}

package struct Layer: Model {
    package let digest: Digest
    /// Of the compressed layer, in bytes.
    package let size: Int64
    package let diffID: Digest

    package init(digest: Digest, size: Int64, diffID: Digest) {
        (self.digest, self.size, self.diffID) = (digest, size, diffID)
    }
}

/// The body of every error response.
package struct Failure: Model {
    package let code: String
    package let error: String
    /// The request's id, by which the log can be searched.
    package let request: String
}
