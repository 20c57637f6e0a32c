public import OCI
public import ObjectStore
package import Records

/// What reading a blob again showed.
public enum BlobCondition: Hashable, Sendable {
    case whole(bytes: Int64)
    /// Its bytes are missing, too few, too many or different.
    case damaged(reason: String)
    /// It was found damaged before, and nobody pushed it again.
    case quarantined
    /// It was collected.
    case gone
}

extension BlobStore {
    /// The name of the bytes (`data/<name>`) that a digest's record points to; nil if the record holds the content
    /// itself or is not there any more.
    public func bytesName(of digest: Digest, in reading: any ObjectStore) async throws(BlobError) -> String? {
        guard case .object(let id)? = try await record(of: digest, in: reading)?.value.content else { return nil }
        return id.text
    }

    /// The digest whose record a key stands for.
    package static func digest(ofRecord key: ObjectKey) -> Digest? { BlobRecord.digest(of: key) }

    /// The record of a digest if it is there and can't be read.
    package func unreadableRecord(
        of digest: Digest, in reading: any ObjectStore
    ) async throws(BlobError) -> UnreadableRecord? {
        let found = try await records.reading(reading).find(try BlobRecord.key(digest), as: BlobRecord.self)
        if case .unreadable(let record) = found { return record }
        return nil
    }

    /// Makes bytes that no record names a blob again, if they match a digest whose record is damaged.
    /// - Returns: the digest; nil if the bytes match none of `lost`.
    package func adopt(
        _ name: String, among lost: [Digest: UnreadableRecord], in reading: any ObjectStore
    ) async throws(BlobError) -> Digest? {
        guard !lost.isEmpty, let id = DataID(parsing: name) else { return nil }
        for algorithm in Set(lost.keys.map(\.algorithm)) {
            let reader: any ObjectReader
            do { reader = try await reading.open(try id.key()) } catch .missing { return nil } catch {
                throw .store(error)
            }
            let digest: Digest
            do throws(BlobError) { digest = try await hash(reader, algorithm) { (_) throws(BlobError) in } } catch {
                await reader.close()
                throw error
            }
            let size = reader.info.size
            await reader.close()
            guard let record = lost[digest], record.fault == .damaged else { continue }
            let restored = BlobRecord(
                content: .object(id), size: size, lease: Lease(now()), state: .live, isMended: true)
            let condition = PutCondition.version(record.version)
            if try await records.write(restored, at: record.key, if: condition) != nil { return digest }
        }
        return nil
    }

    /// Writes the damaged record of a small blob again, if the inline content behind its header is whole.
    /// - Returns: false if the content is damaged as well, or the record was changed meanwhile.
    package func restoreInline(
        _ digest: Digest, _ record: UnreadableRecord, in reading: any ObjectStore
    ) async throws(BlobError) -> Bool {
        guard record.fault == .damaged else { return false }
        let object: StoredObject
        do { object = try await reading.get(record.key) } catch .missing { return false } catch { throw .store(error) }
        let content = Array(object.bytes.dropFirst(BlobRecord.headerSize))
        guard object.info.version == record.version, Digest.of(content, digest.algorithm) == digest else {
            return false
        }
        let restored = BlobRecord(
            content: .inline(content), size: Int64(content.count), lease: Lease(now()), state: .live, isMended: true)
        return try await records.write(restored, at: record.key, if: .version(record.version)) != nil
    }

    /// Reads a blob again and hashes it.
    /// - Parameter pace: called with the size of each piece in bytes; it may wait, to slow the reading down.
    public func check(
        _ digest: Digest, in reading: any ObjectStore, pace: (Int) async throws(BlobError) -> Void
    ) async throws(BlobError) -> BlobCondition {
        let record: BlobRecord
        switch try await records.reading(reading).find(try BlobRecord.key(digest), as: BlobRecord.self) {
        case .missing: return .gone
        case .unreadable: return .damaged(reason: "its record can't be read")
        case .stored(let stored): record = stored.value
        }
        switch record.state {
        case .gone: return .gone
        case .quarantined: return .quarantined
        case .live: break
        }
        let reader: any ObjectReader
        do { reader = try await open(record, of: digest, in: reading) } catch .missing {
            return .damaged(reason: "its bytes are missing")
        } catch { throw .store(error) }
        guard reader.info.size == record.size else {
            await reader.close()
            return .damaged(reason: "it has \(reader.info.size) bytes and not \(record.size)")
        }
        do throws(BlobError) {
            let actual = try await hash(reader, digest.algorithm, pace)
            await reader.close()
            return actual == digest ? .whole(bytes: record.size) : .damaged(reason: "its digest is \(actual)")
        } catch {
            await reader.close()
            // Bytes that the disk can't read back count as lost.
            if case .store(.io(let reason)) = error { return .damaged(reason: "it can't be read: \(reason)") }
            throw error
        }
    }

    func hash(
        _ reader: any ObjectReader, _ algorithm: DigestAlgorithm, _ pace: (Int) async throws(BlobError) -> Void
    ) async throws(BlobError) -> Digest {
        var hasher = DigestHasher(algorithm)
        let pieces = reader.bytes.makeAsyncIterator()
        while let bytes = try await next(pieces) {
            bytes.withUnsafeBytes { hasher.update($0) }
            try await pace(bytes.count)
        }
        return hasher.finish()
    }

    private func next(_ pieces: ObjectByteStream.Iterator) async throws(BlobError) -> [UInt8]? {
        try await BlobError.ofStore(await pieces.next())
    }

    /// Withholds a damaged blob from readers until it is pushed again. Its bytes stay for inspection.
    /// - Returns: false if the record was changed meanwhile, since it may be whole by now.
    public func quarantine(_ digest: Digest) async throws(BlobError) -> Bool {
        try await quarantine(digest, with: nil)
    }

    /// - Parameter content: what was found damaged; nil: whatever is there.
    func quarantine(_ digest: Digest, with content: BlobRecord.Content?) async throws(BlobError) -> Bool {
        guard let stored = try await record(of: digest), stored.value.state == .live,
            content == nil || content == stored.value.content
        else { return false }
        var quarantined = stored.value
        quarantined.state = .quarantined
        return try await records.write(quarantined, at: try BlobRecord.key(digest), if: .version(stored.version)) != nil
    }

    public func isQuarantined(_ digest: Digest) async -> Bool {
        (try? await record(of: digest))?.value.state == .quarantined
    }

    /// Lists one page of bytes that were written before a time and that no record names: a crash left them behind.
    /// - Parameters:
    ///   - before: in nanoseconds since 1970, by the store's clock.
    ///   - isNamed: whether a record names the bytes with this name.
    /// - Returns: their names and sizes, and the key after which the next page begins; nil after the last page.
    public static func orphans(
        in store: any ObjectStore, after: String?, limit: Int, before: Int64, isNamed: (String) -> Bool
    ) async throws(BlobError) -> (orphans: [(name: String, size: Int64)], next: String?) {
        let page = try await BlobError.ofStore(await store.list(prefix: "data/", startAfter: after, limit: limit))
        let orphans = page.filter { $0.modified < before }
            .map { (name: String($0.key.text.dropFirst(5)), size: $0.size) }.filter { !isNamed($0.name) }
        return (orphans, page.count < limit ? nil : page.last?.key.text)
    }

    /// Deletes bytes that no record names.
    public func deleteOrphan(_ name: String) async throws(BlobError) {
        guard let id = DataID(parsing: name) else { return }
        try await BlobError.ofStore(await store.delete(try id.key(), ifVersion: nil))
        quotas?.removed()
    }
}
