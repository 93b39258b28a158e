using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;

namespace Keylime.Functions.Tests;

public sealed class ImaStatesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("states-").FullName;

    private FileBlobStore Blobs => new(_folder);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_put_is_found_by_another_process_and_asks_no_blob_again_in_this_one()
    {
        var state = WithViolations(3);
        var states = new ImaStates(Blobs);
        var digest = await states.PutAsync(state, Cancel);
        Assert.NotNull(digest);
        Assert.Equal(state.Violations, (await new ImaStates(Blobs).FindAsync(digest, Cancel))!.Violations);

        // Without its blob only who has it in memory finds it, and puts nothing again.
        File.Delete(Path.Combine(_folder, digest));
        Assert.Same(state, await states.FindAsync(digest, Cancel));
        Assert.Equal(digest, await states.PutAsync(WithViolations(3), Cancel));
        Assert.Empty(Directory.GetFiles(_folder));
        Assert.Null(await new ImaStates(Blobs).FindAsync(digest, Cancel));
    }

    [Fact]
    public async Task Nothing_is_kept_of_an_empty_state() =>
        Assert.Null(await new ImaStates(Blobs).PutAsync(ImaState.Empty, Cancel));

    [Fact]
    public async Task What_is_no_state_is_none_whatever_its_digest()
    {
        var digest = await Blobs.PutAsync(new byte[] { 9, 9 }, Cancel);
        Assert.Null(await new ImaStates(Blobs).FindAsync(digest, Cancel));
    }

    [Fact]
    public async Task What_is_used_outlives_what_is_not()
    {
        var states = new ImaStates(Blobs, capacity: 2);
        var used = (await states.PutAsync(WithViolations(1), Cancel))!;
        var left = (await states.PutAsync(WithViolations(2), Cancel))!;
        for (var i = 3; i < 9; i++)
        {
            await states.PutAsync(WithViolations(i), Cancel);
            Assert.NotNull(await states.FindAsync(used, Cancel));
        }

        Directory.Delete(_folder, recursive: true);
        Directory.CreateDirectory(_folder);
        Assert.NotNull(await states.FindAsync(used, Cancel));
        Assert.Null(await states.FindAsync(left, Cancel));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static ImaState WithViolations(long count) => ImaState.Empty with { Violations = count, BudgetSpent = 1 };
}
