/// Converts a droplet, in one streaming pass, into the layers of an image.
///
/// Nothing is unpacked, and memory stays within a few MB however large the droplet is. The input is pulled at the pace at
/// which the sink takes bytes. README.md beside this file has the rules for entries.
/// - Parameters:
///   - input: the droplet as it was uploaded: tar, gzip or zstd, in chunks of any size.
///   - watch: files and paths that the caller wants to know of, by their names in the archive.
///   - sink: receives the layers. If anything fails, every writer that was begun and not finished is aborted. Layers are
///     finished only after all of the input was read and found valid; should then one of several fail to finish, those
///     finished before it stay with the sink.
/// - Returns: the stored layers, bottom up, and what became of the entries.
/// - Throws: `ConversionError`, `CancellationError`, or whatever the input or the sink throws.
public func convertDroplet<Input: AsyncSequence & Sendable, Sink: LayerSink>(
    _ input: Input, settings: LayerSettings = LayerSettings(), watch: RootfsWatch? = nil, sink: Sink
) async throws -> ConvertedDroplet<Sink.Writer.Stored> where Input.Element == [UInt8] {
    let result = try await LayerPipeline(settings: settings, sink: sink)
        .run(input, policy: .droplet(settings.mode), watch: watch)
    return ConvertedDroplet(layers: result.layers, summary: result.summary, findings: result.findings)
}

/// Converts a root filesystem's tar into one layer; owners, special mode bits and file capabilities are kept.
///
/// - Parameters:
///   - input: tar, gzip or zstd, in chunks of any size.
///   - watch: files and paths that the caller wants to know of.
/// - Throws: as `convertDroplet`.
public func convertRootfs<Input: AsyncSequence & Sendable, Sink: LayerSink>(
    _ input: Input, settings: LayerSettings = LayerSettings(), watch: RootfsWatch = RootfsWatch(), sink: Sink
) async throws -> ConvertedRootfs<Sink.Writer.Stored> where Input.Element == [UInt8] {
    let result = try await LayerPipeline(settings: settings, sink: sink)
        .run(input, policy: .rootfs, watch: watch)
    guard let layer = result.layers.first, let findings = result.findings else {
        throw ConversionError(.invalid, "the archive gave no layer")
    }
    return ConvertedRootfs(layer: layer, summary: result.summary, findings: findings)
}
