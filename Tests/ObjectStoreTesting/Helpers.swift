import ObjectStore
import Testing

func key(_ text: String) throws(ObjectStoreError) -> ObjectKey { try ObjectKey(text) }

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension ObjectStore {
    func put(_ text: String, _ content: String) async throws {
        try await put(ObjectKey(text), bytes(content), if: .always)
    }

    func text(_ key: String) async throws -> String {
        String(decoding: try await get(ObjectKey(key)).bytes, as: UTF8.self)
    }

    func keys(_ prefix: String = "", after: String? = nil, limit: Int = 1000) async throws -> [String] {
        try await list(prefix: prefix, startAfter: after, limit: limit).map(\.key.text)
    }

    func delete(_ keys: String...) async throws {
        for key in keys { try await delete(ObjectKey(key), ifVersion: nil) }
    }

    func deleteAll() async throws {
        while case let found = try await list(prefix: "", startAfter: nil, limit: 1000), !found.isEmpty {
            for info in found { try await delete(info.key, ifVersion: nil) }
        }
    }

    func stream(_ key: String, _ content: [UInt8]) async throws -> ObjectInfo {
        let writer = try await writer(for: ObjectKey(key))
        try await writer.write(content)
        return try await writer.finish()
    }
}
