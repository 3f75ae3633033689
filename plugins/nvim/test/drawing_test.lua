--- Pictures drawn by a real daemon.
local t = require("support")
local levels = vim.log.levels
local M = {}

function M.a_prompt_becomes_a_picture_and_a_link_below_the_line()
  local _, folder = t.open("notes.md", { "# Fruit", "", "behind" })
  vim.cmd("Imgctl steps=3 seed=7 size=128x64 -- a red apple")
  t.finish()
  t.equal(t.lines(), { "# Fruit", "![a red apple](a-red-apple-7.png)", "", "behind" })
  t.equal({ t.png(folder .. "/a-red-apple-7.png") }, { 128, 64 })
end

function M.an_empty_line_becomes_the_link()
  t.open("notes.md", { "", "behind" })
  vim.cmd("Imgctl steps=2 seed=8 a red apple")
  t.finish()
  t.equal(t.lines(), { "![a red apple](a-red-apple-8.png)", "behind" })
end

function M.a_command_of_the_command_line_draws_too()
  local _, folder = t.open("notes.md", { "# Fruit", "behind" })
  local plugin = vim.fn.fnamemodify(vim.fn.findfile("plugin/imgd.lua", vim.o.runtimepath), ":p:h:h")
  vim.fn.system({
    vim.v.progpath,
    "--clean",
    "--headless",
    "--cmd",
    "set runtimepath^=" .. vim.fn.fnameescape(plugin),
    folder .. "/notes.md",
    "-c",
    "Imgctl steps=2 seed=7 a red apple",
    "-c",
    "lua vim.wait(60000, function() return vim.api.nvim_buf_line_count(0) == 3 end) vim.cmd('wq')",
  })
  t.equal(vim.v.shell_error, 0)
  t.equal(vim.fn.readfile(folder .. "/notes.md"), { "# Fruit", "![a red apple](a-red-apple-7.png)", "behind" })
end

function M.a_picture_never_overwrites_another()
  local _, folder = t.open("notes.md", { "x" })
  vim.fn.writefile({ "mine" }, folder .. "/a-red-apple-7.png")
  vim.cmd("Imgctl steps=2 seed=7 a red apple")
  t.finish()
  t.equal(vim.fn.readfile(folder .. "/a-red-apple-7.png"), { "mine" })
  t.equal(t.lines()[2], "![a red apple](a-red-apple-7-2.png)")
end

function M.a_selection_is_the_prompt()
  t.open("notes.md", { "draw ein süßer Fuchs ü now", "behind" })
  vim.cmd([[call cursor(1, 6) | exe "normal! v3e\<Esc>"]])
  vim.cmd("'<,'>Imgctl steps=2 seed=3 -- in snow")
  t.finish()
  t.equal(t.lines()[2], "![ein süßer Fuchs, in snow](ein-süßer-fuchs-in-snow-3.png)")
  t.equal(t.imgctl("history", "-n", "1")[1].request.prompt, "ein süßer Fuchs, in snow")
end

function M.lines_of_a_range_are_the_prompt_and_reach_the_daemon_whole()
  t.open("notes.md", { "-n 'a' \"b\"", "@two; $(three)", "behind" })
  vim.cmd("1,2Imgctl steps=2 seed=3")
  t.finish()
  t.matches(t.lines()[3], "^!%[%-n 'a' \"b\" @two; %$%(three%)%]%(.*%.png%)$")
  t.equal(t.imgctl("history", "-n", "1")[1].request.prompt, "-n 'a' \"b\"\n@two; $(three)")
end

function M.several_pictures_are_a_link_each_and_a_folder_is_made()
  require("imgd").setup({ folder = "img/new", options = { steps = 2, n = 2 } })
  local _, folder = t.open("page.html", { "<p>", "</p>" })
  vim.cmd('Imgctl seed=5 a "blue" bird')
  t.finish()
  local lines = t.lines()
  table.sort(lines)
  t.equal(#lines, 4)
  t.equal(lines[2], '<img src="img/new/a-blue-bird-5.png" alt="a &quot;blue&quot; bird">')
  t.png(folder .. "/img/new/a-blue-bird-6.png")
end

function M.progress_is_seen_and_ends()
  t.open("notes.md", { "x" })
  local seen, events = {}, 0
  vim.api.nvim_create_autocmd("User", {
    pattern = "ImgdProgress",
    callback = function()
      events = events + 1
      seen[require("imgd").statusline()] = true
    end,
  })
  vim.cmd("Imgctl steps=9 seed=1 a red apple")
  t.matches(require("imgd").statusline(), "^imgd starting$")
  t.finish()
  assert(seen["imgd finishing"] and events > 9, vim.inspect(seen))
  local steps = vim.tbl_filter(function(text)
    return text:match("^imgd [1-8]/9, %d+ s$") ~= nil
  end, vim.tbl_keys(seen))
  assert(#steps >= 6, vim.inspect(seen))
  t.equal(require("imgd").statusline(), "")
end

function M.the_marked_line_shows_progress_and_nothing_is_left_of_it()
  local buffer = t.open("notes.md", { "x" })
  vim.cmd("Imgctl steps=200 a red apple")
  local space = vim.api.nvim_get_namespaces().imgd
  t.wait(function()
    local marks = vim.api.nvim_buf_get_extmarks(buffer, space, 0, -1, { details = true })
    local shown = marks[1] and marks[1][4].virt_text
    return shown and shown[1][1]:match("%d/200") ~= nil
  end, "steps beside the line")
  vim.cmd("ImgctlCancel")
  t.finish()
  t.equal(vim.api.nvim_buf_get_extmarks(buffer, space, 0, -1, {}), {})
end

function M.cancelling_reaches_the_daemon_and_inserts_nothing()
  local _, folder = t.open("notes.md", { "x" })
  vim.cmd("Imgctl steps=1000 a slow apple")
  t.wait(function()
    return require("imgd").statusline():match("imgd %d+/1000") ~= nil
  end, "a step is done")
  local id = require("imgd.drawings").active[1].job_id
  vim.cmd("ImgctlCancel")
  t.finish()
  t.equal(t.message(), "imgd: cancelled")
  t.equal(t.lines(), { "x" })
  t.equal(vim.fn.glob(folder .. "/*.png"), "")
  t.equal(t.imgctl("jobs", "show", id)[1].state, "cancelled")
end

function M.cancel_ends_the_last_and_with_a_bang_all()
  t.open("notes.md", { "x" })
  for _ = 1, 3 do
    vim.cmd("Imgctl steps=1000 a slow apple")
  end
  t.matches(require("imgd").statusline(), "^imgd 3 pictures")
  vim.cmd("ImgctlCancel")
  t.wait(function()
    return #require("imgd.drawings").active == 2
  end, "one is gone")
  vim.cmd("ImgctlCancel!")
  t.finish()
  t.equal(#t.told, 3)
  vim.cmd("ImgctlCancel")
  t.equal(t.told[4].text, "imgd: nothing is being drawn")
end

function M.a_wrong_value_is_told_by_its_field_with_a_hint()
  t.open("notes.md", { "x" })
  vim.cmd("Imgctl sampler=nonsense a red apple")
  t.finish()
  t.matches(t.message(levels.ERROR), "sampler.*nonsense.*\nhint: known are .*euler")
  t.equal(t.lines(), { "x" })
end

function M.what_imgctl_itself_refuses_is_told()
  t.open("notes.md", { "x" })
  vim.cmd("Imgctl steps=many a red apple")
  t.finish()
  t.matches(t.message(levels.ERROR), "num%-inference%-steps.*many")
  t.told = {}
  vim.cmd("Imgctl strength=0.5 a red apple")
  t.finish()
  t.matches(t.message(levels.ERROR), "init%-image")
end

function M.a_missing_program_is_told_with_what_to_do()
  require("imgd").setup({ imgctl = "/nowhere/imgctl" })
  t.open("notes.md", { "x" })
  vim.cmd("Imgctl a red apple")
  t.matches(t.message(levels.ERROR), "cannot run `/nowhere/imgctl`\nhint: install imgctl")
  t.equal(t.idle(), true)
end

function M.a_variation_begins_from_the_picture_with_its_own_prompt()
  local _, folder = t.open("notes.md", { "x" })
  vim.cmd("Imgctl steps=2 seed=7 size=64x128 -- ein süßer [apple]")
  t.finish()
  t.equal(t.lines()[2], "![ein süßer \\[apple\\]](ein-süßer-apple-7.png)")
  vim.cmd("call cursor(2, 1) | ImgctlVary steps=4 seed=9")
  t.finish()
  t.equal(t.lines()[3], "![ein süßer \\[apple\\]](ein-süßer-apple-9.png)")
  t.equal({ t.png(folder .. "/ein-süßer-apple-9.png") }, { 64, 128 })
  local job = t.imgctl("history", "-n", "1")[1]
  t.equal({ job.settings.strength, job.request.prompt }, { 0.5, "ein süßer [apple]" })
end

function M.an_edit_begins_from_the_picture_where_the_model_looks_at_none()
  t.open("notes.md", { "x" })
  vim.cmd("Imgctl steps=2 seed=7 a red apple")
  t.finish()
  vim.cmd("call cursor(2, 1) | ImgctlEdit steps=4 seed=9 -- make it green")
  t.wait(function()
    return #t.lines() == 3 and t.idle()
  end, "the edited picture")
  t.equal(t.lines()[3], "![make it green](make-it-green-9.png)")
  t.matches(t.message(), "looks at no pictures")
  t.equal(t.imgctl("history", "-n", "1")[1].settings.strength, 0.75)
end

function M.a_line_without_a_picture_is_refused()
  t.open("notes.md", { "x", "![gone](gone.png)" })
  vim.cmd("ImgctlVary")
  t.matches(t.told[1].text, "no link to a picture")
  vim.cmd("call cursor(2, 1) | ImgctlVary")
  t.matches(t.told[2].text, "gone%.png`, which cannot be read")
end

function M.the_gallery_inserts_a_picture_beside_this_file()
  t.open("first.md", { "x" })
  vim.cmd("Imgctl steps=2 seed=41 a tall ship")
  t.finish()
  local buffer, folder = t.open("second.md", { "here", "behind" })
  vim.cmd("ImgctlGallery")
  t.matches(t.lines()[1], "^%d+%-%d+%-%d+ %d+:%d+   1    256x256  starter +a tall ship$")
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes("<CR>", true, false, true), "x", false)
  t.wait(function()
    return #t.lines(buffer) == 3
  end, "the link")
  t.equal(t.lines(buffer), { "here", "![a tall ship](a-tall-ship-41.png)", "behind" })
  t.equal({ t.png(folder .. "/a-tall-ship-41.png") }, { 256, 256 })
end

function M.status_and_health_tell_of_the_daemon()
  t.open("notes.md", { "x" })
  vim.cmd("ImgctlStatus")
  t.wait(t.message, "the status")
  t.matches(t.message(levels.INFO), "^imgd: %d+%.%d+%.%d+: 0 running, 0 waiting, %d+ pictures kept; .+$")
  vim.cmd("silent checkhealth imgd")
  local text = table.concat(t.lines(), "\n")
  t.matches(text, "imgd %d+%.%d+%.%d+ answers at /.*models: starter %(default%)")
  assert(not text:match("ERROR"), text)
end

return M
