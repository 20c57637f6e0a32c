public import Rootfs

extension DropletCatalog {
    /// How many droplets there are of each stack and architecture. The first to ask waits until all records are read; from
    /// then on the number is kept, by this process, which is the store's only writer.
    public func counts() async throws(ImageError) -> [StackName: [Architecture: Int]] {
        let counts = try await tally.counts { (after) throws(ImageError) in
            try await list(startAfter: after, limit: 500)
        }
        var result: [StackName: [Architecture: Int]] = [:]
        for (base, count) in counts { result[base.stack, default: [:]][base.architecture] = count }
        return result
    }
}
