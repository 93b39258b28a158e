using System.CommandLine;

namespace Keylime.Tenant;

/// <summary><c>keylime logout</c>.</summary>
internal static class LogoutCommand
{
    public static Command Create(Surroundings surroundings)
    {
        var command = new Command("logout", "Forget the service, and what opens it. A token that was given stays good until it is revoked.");
        command.SetAction(_ =>
        {
            var path = Login.PathIn(surroundings);
            var there = File.Exists(path);
            try
            {
                File.Delete(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new CliException(Exits.Failed, $"{path} cannot be deleted: {PlainText.From(e.Message)}", "delete it by hand: what is in it opens the service");
            }

            surroundings.Out.WriteLine(there ? $"Logged out; {path} is gone." : "Nobody was logged in.");
            return Exits.Ok;
        });
        return command;
    }
}
