-- The commands. Everything else is loaded when one of them is first used.
if vim.g.loaded_imgd then
  return
end
vim.g.loaded_imgd = true

--- A command that hands its arguments to the function `name` of the plugin.
local function command(name, call, attributes)
  vim.api.nvim_create_user_command(name, function(given)
    require("imgd")[call](given)
  end, attributes)
end

local function complete(...)
  return require("imgd.completion").complete(...)
end

command("Imgctl", "generate", {
  nargs = "*",
  range = true,
  complete = complete,
  desc = "Draw a picture and insert a link to it",
})
command("ImgctlVary", "vary", {
  nargs = "*",
  complete = complete,
  desc = "Draw a variation of the picture under the cursor",
})
command("ImgctlEdit", "edit", {
  nargs = "+",
  complete = complete,
  desc = "Change the picture under the cursor by words",
})
command("ImgctlCancel", "cancel", { bang = true, desc = "End the last picture, with ! all of them" })
command("ImgctlGallery", "gallery", { desc = "List recent pictures, insert one with Enter" })
command("ImgctlStatus", "status", { desc = "Show how the daemon is" })
