public import OCI

extension BlobStore {
    /// Finishes several writers at once, so that they share one flush, and publishes them in order. Whatever was not
    /// published when it fails is removed.
    public func commit(_ written: [(writer: BlobWriter, digest: Digest)]) async throws(BlobError) {
        var staged: [StagedBlob?] = Array(repeating: nil, count: written.count)
        var failure: BlobError?
        await withTaskGroup(of: (Int, Result<StagedBlob, BlobError>).self) { group in
            for (index, item) in written.enumerated() {
                group.addTask {
                    do throws(BlobError) { return (index, .success(try await item.writer.finish())) } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for await (index, result) in group {
                switch result {
                case .success(let blob): staged[index] = blob
                case .failure(let error): failure = error
                }
            }
        }
        for (index, item) in written.enumerated() {
            guard let blob = staged[index] else { continue }
            if failure == nil {
                do throws(BlobError) { try await publish(blob, as: item.digest) } catch { failure = error }
            } else {
                await blob.discard()
            }
        }
        if let failure { throw failure }
    }
}
